// Where elements come from. Expected positions are what NumPy gives for np.arange(size).reshape(shape) and the same call.
#include "recognise/movement.h"

#include "check.h"
#include "recognise/operators.h"

using namespace linkcast;
using namespace linkcast::tflite;

namespace {

using Positions = std::vector<std::size_t>;

constexpr std::uint32_t kAll = 0xFFFFFFFFU;

}  // namespace

TEST(a_transpose_gives_the_positions_that_numpy_gives) {
  const Move move = transposed({2, 3, 2}, {2, 0, -2});
  CHECK(move.shape == Shape({2, 2, 3}));
  CHECK(move.positions() == Positions({0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11}));
  CHECK_THROWS(transposed({2, 3}, {0, 0}), "names a dimension twice");
  CHECK_THROWS(transposed({2, 3}, {0}), "expected an order of 2 dimensions, got 1");
}

TEST(a_strided_slice_gives_the_positions_that_python_gives) {
  // a[::-2, 1:3] of a (4, 3)
  const Move back = strided({4, 3}, {{0, 1}, {0, 3}, {-2, 1}, 1, 1, 0});
  CHECK(back.shape == Shape({2, 2}));
  CHECK(back.positions() == Positions({10, 11, 4, 5}));
  // a[-1, 0:99] and a[1:-1, -99:]
  const Move last = strided({4, 3}, {{-1, 0}, {0, 99}, {1, 1}, 0, 0, 1});
  CHECK(last.shape == Shape({3}));
  CHECK(last.positions() == Positions({9, 10, 11}));
  CHECK(strided({4, 3}, {{1, -99}, {-1, 0}, {1, 1}, 0, 2, 0}).positions() == Positions({3, 4, 5, 6, 7, 8}));
  // a[3:1] is empty
  CHECK(strided({4}, {{3}, {1}, {1}, 0, 0, 0}).positions().empty());
  CHECK_THROWS(strided({4}, {{4}, {0}, {1}, 0, 0, 1}), "takes entry 4 of 4");
  CHECK_THROWS(strided({4}, {{0}, {4}, {0}, 0, 0, 0}), "expected a stride other than 0 along dimension 0, got 0");
  CHECK_THROWS(strided({4}, {{0}, {4}, {INT64_MIN}, kAll, kAll, 0}), "expected a stride other than 0");
}

TEST(parts_entries_and_slices_give_the_positions_that_numpy_gives) {
  CHECK(part_of({2, 4}, 1, 2, 2).positions() == Positions({2, 3, 6, 7}));
  CHECK(sliced({3, 4}, {1, 2}, {-1, 1}).positions() == Positions({6, 10}));
  CHECK_THROWS(sliced({3}, {2}, {2}), "ends outside its input");
  const Move taken = gathered({2, 3, 2}, 1, {2, 0, 2, 1}, {2, 2});
  CHECK(taken.shape == Shape({2, 2, 2, 2}));
  CHECK(taken.positions() == Positions({4, 5, 0, 1, 4, 5, 2, 3, 10, 11, 6, 7, 10, 11, 8, 9}));
  CHECK_THROWS(gathered({2}, 0, {2}, {1}), "takes entry 2 of 2");
}

TEST(a_dimension_is_cut_into_lengths_of_which_one_may_be_open) {
  CHECK(cut(5, {2, 3}) == Values({2, 3}));
  CHECK(cut(9, {2, -1, 3}) == Values({2, 4, 3}));
  CHECK(cut(4, {2, 2, -1}) == Values({2, 2, 0}));
  for (const Values& wrong : {Values{2, 2}, Values{2, 4}, Values{0, 5}, Values{-1, -1}, Values{6, -1}, Values{-2, 7}})
    CHECK_THROWS(cut(5, wrong), "has lengths that do not fit its input");
}

TEST(broadcasts_reshapes_and_joins_follow_numpy) {
  CHECK(broadcast({2, 1, 3}, {4, 1}) == Shape({2, 4, 3}));
  CHECK_THROWS(broadcast({2, 3}, {2}), "do not go together: (2, 3) and (2)");
  CHECK(broadcast_to({2, 1}, {2, 2, 3}).positions() == Positions({0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1}));
  CHECK(reshaped({2, 6}, {3, -1}) == Shape({3, 4}));
  CHECK(reshaped({0, 6}, {6, -1}) == Shape({6, 0}));
  CHECK_THROWS(reshaped({2, 6}, {5, -1}), "(2, 6) can't become (5, -1)");
  CHECK(squeezed({1, 2, 1}, {-1}) == Shape({1, 2}));
  const Join join = joined({{2, 1}, {2, 2}}, 1);
  CHECK(join.shape == Shape({2, 3}));
  CHECK(join.of<Values>({{1, 4}, {2, 3, 5, 6}}) == Values({1, 2, 3, 4, 5, 6}));
  CHECK_THROWS(joined({{2, 1}, {3, 1}}, 1), "joins (2, 1) and (3, 1)");
}

TEST(a_tensor_without_elements_has_no_positions_whatever_its_other_dimensions) {
  const std::int64_t huge = INT32_MAX;
  CHECK(transposed({huge, huge, huge, 0}, {3, 2, 1, 0}).positions().empty());
  CHECK(joined({{huge, 0}, {huge, 0}}, 1).of<Values>({{}, {}}).empty());
}

TEST(whole_numbers_are_those_of_the_runtime_kernels) {
  const auto result = [](int code, std::int64_t x, std::int64_t y) {
    return stored(kTypeInt32, operator_rule(code)->number(x, y));
  };
  CHECK_EQ(result(kAdd, INT32_MAX, 1), std::int64_t{INT32_MIN});  // two's complement
  CHECK_EQ(result(kDiv, -7, 2), -3);
  CHECK_EQ(result(kFloorDiv, -7, 2), -4);
  CHECK_EQ(result(kFloorMod, -7, 3), 2);
  CHECK_EQ(result(59, 0, 5), -5);  // NEG has 0 as its first
  CHECK_EQ(result(87, 0, 5), 0);   // LOGICAL_NOT
  CHECK_EQ(result(87, 0, 0), 1);
}
