// Signals are for the threads of the process, not for ours.
#pragma once

#include <pthread.h>

#include <csignal>
#include <initializer_list>

namespace linkcast {

/// Threads that are started while it lives never run a handler of the process: it may expect its own thread, or take long.
/// Those of a thread's own faults stay as they are, and a profiler's clock.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF}) sigdelset(&all, own);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace linkcast
