// How far a native network may lie from TensorFlow Lite. Expected values by hand.
#include "engine/proof.h"

#include <cmath>

#include "check.h"

using namespace linkcast;

namespace {

NetworkSpec of(std::vector<LayerSpec> layers) {
  NetworkSpec spec;
  spec.features = 4;
  spec.layers = std::move(layers);
  return spec;
}

DenseSpec dense(float weight, std::size_t inputs = 4, std::size_t units = 2) {
  return {inputs, units, std::vector<float>(inputs * units, weight), std::vector<float>(units, 0.0F), {}};
}

}  // namespace

TEST(rounding_to_int8_is_followed_through_one_layer) {
  // Variance of a rounding to 1/127: (1/127)^2 / 12; four inputs of weight 0.5: times 4 * 0.25. Four deviations.
  CHECK_NEAR(rounding_tolerance(of({dense(0.5F)})), 4.0 / 127.0 / std::sqrt(12.0), 1e-12);
  // Twice the weights, twice the noise.
  CHECK_NEAR(rounding_tolerance(of({dense(1.0F)})), 8.0 / 127.0 / std::sqrt(12.0), 1e-12);
}

TEST(small_weights_prove_more_and_large_ones_are_bounded) {
  CHECK_NEAR(rounding_tolerance(of({dense(1e-4F)})), 1e-4, 0);
  CHECK_NEAR(rounding_tolerance(of({dense(100.0F)})), 5e-2, 0);
  CHECK_NEAR(rounding_tolerance(of({dense(1e15F), dense(1e15F, 2)})), 5e-2, 0);
}

TEST(a_second_layer_adds_its_own_rounding) {
  // |w|^2 = 1 in both: the second layer rounds activations of up to 1 (the root of |w|^2) once more.
  const double one = rounding_tolerance(of({dense(0.5F)}));
  CHECK_NEAR(rounding_tolerance(of({dense(0.5F, 4, 4), dense(0.5F)})), one * std::sqrt(2.0), 1e-12);
}
