// Fills a kernel table from a product; included by each ISA's translation unit.
#pragma once

#include "dense.h"
#include "lstm.h"
#include "normalise.h"

namespace linkcast::kernels {
namespace {

/// What a table has from its vectors alone.
template <class V>
constexpr Kernels vector_kernels(Isa isa, const char* name) {
  Kernels table;
  table.isa = isa;
  table.name = name;
  table.lanes = V::lanes;
  table.affine = affine<V>;
  table.softmax = softmax<V>;
  table.normalise = normalise<V>;
  return table;
}

template <class Product>
constexpr Kernels make_kernels(Isa isa, const char* name) {
  Kernels table = vector_kernels<typename Product::Vec>(isa, name);
  table.format = Product::format;
  table.group = Product::group;
  table.encoded = Product::encoded;
  table.projection_rows = Product::max_rows;
  if constexpr (Product::encoded) {
    table.encoded_bytes = Product::encoded_bytes;
    table.encode = Product::encode;
  }
  table.dense = dense<Product>;
  table.lstm_step = lstm_step<Product>;
  return table;
}

}  // namespace
}  // namespace linkcast::kernels
