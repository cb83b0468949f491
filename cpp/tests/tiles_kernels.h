// The emulated unit's kernels and its state on this thread, for the tests; they need AVX-512 with bfloat16.
#pragma once

#include "kernels/kernels.h"

namespace tiles {

const linkcast::kernels::Kernels& emulated_bf16();
const linkcast::kernels::Kernels& emulated_int8();

/// What the tile unit would have refused so far: "" when nothing.
const char* fault();
/// Whether tiles are configured.
bool in_use();
/// How often a configuration was loaded.
int configurations();

}  // namespace tiles
