// What linkcast-bench measures beside the plain calls: ordinary pages, and the peaks that its roofs are made of.
#include <sys/prctl.h>

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <string>

#include "check.h"
#include "kernels/isa.h"
#include "kernels/kernels.h"
#include "roofline.h"
#include "workloads.h"

using namespace linkcast::bench;

namespace {

/// Bytes of this process that stand on huge pages.
std::size_t on_huge_pages() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("AnonHugePages:")) return std::stoul(line.substr(line.find(':') + 1)) << 10;
  return 0;
}

}  // namespace

TEST(weights_on_ordinary_pages_stand_on_no_huge_ones_and_give_the_same_answers) {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  {
    Workloads workloads(folder, "internet", {});
    const std::size_t loaded = on_huge_pages();
    workloads.add_on_ordinary_pages(folder, {});
    CHECK_EQ(on_huge_pages(), loaded);
    const auto& infos = workload_infos();
    std::size_t compared = 0;
    for (std::size_t i = 0; i < infos.size(); ++i) {
      CHECK(workloads.at(i).info == &infos[i]);
      if (!infos[i].ordinary_pages) continue;
      for (std::size_t plain = 0; plain < infos.size(); ++plain) {
        if (infos[plain].name != std::string(infos[i].plain)) continue;
        workloads.at(i).call();
        workloads.at(plain).call();
        check_same_result(workloads.at(i), workloads.at(plain), 0.0);
        ++compared;
      }
    }
    CHECK_EQ(compared, 2U);
  }
  CHECK_EQ(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 0);  // for the next round
}

TEST(the_peak_of_every_kernels_own_instruction_is_known_but_for_tiles_and_arms_products) {
  for (const linkcast::Isa isa : linkcast::supported_isas())
    for (const auto precision :
         {linkcast::Precision::float32, linkcast::Precision::bfloat16, linkcast::Precision::int8})
      for (const linkcast::kernels::Kernels* table : linkcast::kernels::candidates(isa, precision)) {
        const std::string name = table->name;
        const bool unknown = name.ends_with("_amx") || (isa == linkcast::Isa::neon && table->encoded);
        CHECK((measure_multiply_adds(*table) > 1e6) == !unknown);
      }
}
