#include "c_api/hot_swap.h"

#include <atomic>
#include <memory>
#include <thread>

#include "check.h"

namespace {

std::atomic<int> alive{0};

/// Knows when it is used after it was freed, by its content as well as under a sanitizer.
struct Payload {
  explicit Payload(int value) : first(value), second(value) { ++alive; }
  ~Payload() {
    first = -1;
    second = -2;
    --alive;
  }
  int first;
  int second;
};

}  // namespace

TEST(the_next_call_uses_what_was_published_and_the_old_is_freed_by_the_publisher) {
  {
    linkcast::HotSwap<Payload> swap(std::make_shared<Payload>(1));
    CHECK_EQ(swap.enter()->first, 1);
    swap.leave();
    swap.publish(std::make_shared<Payload>(2));
    CHECK_EQ(alive.load(), 1);
    CHECK_EQ(swap.enter()->first, 2);
    swap.leave();
  }
  CHECK_EQ(alive.load(), 0);
}

TEST(published_twice_before_a_call_the_newest_is_used) {
  linkcast::HotSwap<Payload> swap(std::make_shared<Payload>(1));
  swap.publish(std::make_shared<Payload>(2));
  swap.publish(std::make_shared<Payload>(3));
  CHECK_EQ(alive.load(), 1);
  CHECK_EQ(swap.enter()->first, 3);
  swap.leave();
}

TEST(a_second_caller_is_turned_away) {
  linkcast::HotSwap<Payload> swap(std::make_shared<Payload>(1));
  CHECK(swap.enter() != nullptr);
  CHECK(swap.enter() == nullptr);
  swap.leave();
  CHECK(swap.enter() != nullptr);
  swap.leave();
}

TEST(a_holder_keeps_the_old_one_alive) {
  linkcast::HotSwap<Payload> swap(std::make_shared<Payload>(1));
  const std::shared_ptr<Payload> held = swap.shared();
  swap.publish(std::make_shared<Payload>(2));
  CHECK_EQ(held->first, 1);
  CHECK_EQ(alive.load(), 2);
}

TEST(a_loop_never_sees_a_freed_object_while_two_threads_publish) {
  constexpr int kRounds = 2000;
  linkcast::HotSwap<Payload> swap(std::make_shared<Payload>(0));
  std::atomic<bool> done{false};
  int torn = 0;  // the loop's alone until it is joined
  std::atomic<long> calls{0};
  std::thread loop([&] {
    while (!done.load()) {
      Payload* payload = swap.enter();
      if (payload->first != payload->second || payload->first < 0) ++torn;
      swap.leave();
      ++calls;
    }
  });
  auto publish = [&] {
    for (int k = 0; k < kRounds; ++k) swap.publish(std::make_shared<Payload>(k));
  };
  while (calls.load() == 0) std::this_thread::yield();  // on a busy machine the loop may begin late
  std::thread other(publish);
  publish();
  other.join();
  done = true;
  loop.join();
  CHECK_EQ(torn, 0);
  CHECK(calls.load() > 0);
  CHECK_EQ(alive.load(), 1);
}
