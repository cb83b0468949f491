// Fills a kernel table from a product; included by each ISA's translation unit.
#pragma once

#include "dense.h"
#include "lstm.h"
#include "normalise.h"
#include "recurrence.h"

namespace linkcast::kernels {
namespace {

template <class Product>
constexpr Kernels make_kernels(Isa isa, const char* name) {
  Kernels table;
  table.isa = isa;
  table.name = name;
  table.format = Product::format;
  table.lanes = Product::Vec::lanes;
  table.group = Product::group;
  table.encoded = Product::encoded;
  table.projection_rows = Product::max_rows;
  if constexpr (Product::encoded) {
    table.encoded_bytes = Product::encoded_bytes;
    table.encode = Product::encode;
    table.state_scale = fixed_scale<Product>();
  }
  table.dense = dense<Product>;
  table.lstm_step = lstm_step<Product>;
  table.recurrence_step = recurrence_step<Product>;
  table.affine = affine<typename Product::Vec>;
  table.softmax = softmax<typename Product::Vec>;
  table.normalise = normalise<typename Product::Vec>;
  return table;
}

}  // namespace
}  // namespace linkcast::kernels
