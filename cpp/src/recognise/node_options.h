// The options of operators as the runtime lays them out behind a node. Only fields up to the last one that is read are
// declared.
#pragma once

#include <cstdint>

namespace linkcast::tflite {

struct ArithmeticOptions {
  int activation;
};
struct FullyConnectedOptions {
  int activation;
  int weights_format;  // 0: row-major
  bool keep_num_dims;
};
struct SequenceLstmOptions {
  int activation;
  float cell_clip;
  float proj_clip;
  bool time_major;
};
struct ConcatenationOptions {
  int axis;
  int activation;
};
struct BatchMatmulOptions {
  bool adjoint_x;
  bool adjoint_y;
};
struct DimensionsOptions {  // of RESHAPE and SQUEEZE
  std::int32_t dims[8];
  int count;
};
struct GatherOptions {
  int axis;
  int batch_dims;
};
struct StridedSliceOptions {
  int begin_mask;
  int end_mask;
  int ellipsis_mask;
  int new_axis_mask;
  int shrink_axis_mask;
  bool offset;
};
struct SplitOptions {
  int count;
};
struct PackOptions {  // and of UNPACK
  int count;
  int axis;
};
struct SoftmaxOptions {
  float beta;
};
struct ReducerOptions {
  bool keep_dims;
};
struct WhileOptions {
  int condition;
  int body;
};

}  // namespace linkcast::tflite
