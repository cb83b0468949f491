// The kernels that a test goes through.
#pragma once

#include <initializer_list>
#include <vector>

#include "kernels/kernels.h"

/// Every table of these precisions that this CPU runs, chosen by measurement or not.
inline std::vector<const linkcast::kernels::Kernels*> tables(linkcast::Isa isa,
                                                             std::initializer_list<linkcast::Precision> precisions) {
  std::vector<const linkcast::kernels::Kernels*> all;
  for (const linkcast::Precision precision : precisions)
    for (const auto* table : linkcast::kernels::candidates(isa, precision)) all.push_back(table);
  return all;
}
