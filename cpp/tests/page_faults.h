// Page faults of calls, less those that the operating system brings about by itself.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <limits>

namespace page_faults {

/// The fewest page faults of the calling thread in five runs of `calls`. A call that touches a new page in each of its
/// runs shows in all five; a page that the kernel has moved, merged or scanned meanwhile shows in one.
template <typename Calls>
long fewest(const Calls& calls) {
  long least = std::numeric_limits<long>::max();
  for (int run = 0; run < 5 && least > 0; ++run) {
    rusage before{};
    rusage after{};
    getrusage(RUSAGE_THREAD, &before);
    calls();
    getrusage(RUSAGE_THREAD, &after);
    least = std::min(least, after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt);
  }
  return least;
}

}  // namespace page_faults
