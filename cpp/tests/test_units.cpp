// Values that are not of their unit are refused at every door of the engine, with the unit that they look like.
#include "engine/units.h"

#include <cmath>
#include <limits>
#include <vector>

#include "bundle.h"
#include "check.h"
#include "engine/controller.h"
#include "engine/forecaster_pool.h"
#include "engine/stream.h"

using namespace linkcast;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> window(std::vector<double> last) {
  std::vector<double> values;
  for (int step = 0; step < 9; ++step) values.insert(values.end(), {28, 12.5, 0.001, 0.998});
  values.insert(values.end(), last.begin(), last.end());
  return values;
}

}  // namespace

TEST(a_unit_says_what_a_value_can_be) {
  const Bounds fraction = bounds_of(Feature{"packet_loss", "fraction"});
  const Bounds latency = bounds_of(Feature{"latency_ms", "ms"});
  const std::vector<Bounds> bounds{fraction, latency};
  const auto first = [&](std::vector<double> values) {
    return first_out_of_bounds(bounds, values.data(), values.size());
  };
  CHECK_EQ(first({0, 0, 1, 3.4e38}), 4U);
  CHECK_EQ(first({1 + 1e-7, 1, 0, 0}), 4U);  // a share in float32
  CHECK_EQ(first({0.5, 1, 1.01, 0}), 2U);
  CHECK_EQ(first({0.5, -0.1}), 1U);
  CHECK_EQ(first({0.5, kInfinity}), 1U);
  CHECK_EQ(first({0.5, 1e39}), 1U);  // none that float32 has
  CHECK_EQ(first({std::nan(""), 1}), 0U);
}

TEST(an_error_names_the_unit_that_a_value_looks_like) {
  const Feature loss{"packet_loss", "fraction"};
  CHECK_EQ(bounds_text(loss, bounds_of(loss), 5), "packet_loss: expected a fraction 0..1, got 5 (percent?)");
  CHECK_EQ(bounds_text(loss, bounds_of(loss), -1), "packet_loss: expected a fraction 0..1, got -1");
  const Feature latency{"latency_ms", "ms"};
  CHECK_EQ(bounds_text(latency, bounds_of(latency), -3), "latency_ms: expected ms, 0 or more, got -3");
  const Feature bandwidth{"bandwidth_mbps", "Mbit/s"};
  const Bounds link = on_link(bounds_of(bandwidth), bandwidth, 100);
  CHECK_EQ(bounds_text(bandwidth, link, 2.5e7),
           "bandwidth_mbps: expected at most 10 times the link's capacity of 100 Mbit/s, got 2.5e+07 (bit/s?)");
  CHECK_EQ(bounds_text(bandwidth, bounds_of(bandwidth), 1e39), "expected finite values, got 1e+39 for bandwidth_mbps");
  CHECK_EQ(bounds_text(bandwidth, link, kInfinity), "expected finite values, got inf for bandwidth_mbps");
  CHECK(first_out_of_bounds({link}, &link.most, 1) == 1);
  const double ten_times = 1000;
  CHECK(first_out_of_bounds({link}, &ten_times, 1) == 1);
  const double eleven_times = 1100;
  CHECK(first_out_of_bounds({link}, &eleven_times, 1) == 0);
}

TEST(every_door_refuses_percent_for_a_fraction) {
  const auto bad = window({28, 12.5, 0.1, 99.8});
  const double* sample = bad.data() + 36;
  const char* text = "reliability: expected a fraction 0..1, got 99.8 (percent?)";
  const std::size_t forecaster = bundle().find("internet", Role::forecaster);
  float mbps = 0;
  std::int32_t action = 0;
  float q[10];
  CHECK_THROWS(bundle().forecast_raw(forecaster, bad.data(), 1, &mbps), text);
  const std::size_t allocator = bundle().find("internet", Role::allocator);
  CHECK_THROWS(bundle().decide(allocator, sample, 1, &action), text);
  CHECK_THROWS(bundle().q_values(allocator, sample, 1, q), text);
  Stream stream(bundle(), forecaster, {});
  Answer answer;
  CHECK_THROWS(stream.push(sample, nullptr, &answer), text);
  CHECK_EQ(stream.ticks(), 0U);
  ForecasterPool pool(bundle(), {});
  const ForecastRequest request{forecaster, bad.data(), 1};
  ForecastResult result;
  pool.forecast({&request, 1}, {&result, 1});
  CHECK(result.status == ForecastStatus::wrong_unit);
  CHECK(result.answers.empty());
  Controller::Options options;
  options.capacity_mbps = 100;
  Controller controller(bundle(), "internet", options);
  CHECK_THROWS(controller.tick(sample, 0), text);
  CHECK_EQ(controller.counts().ticks, 0U);
}

TEST(a_bandwidth_is_measured_against_the_link_where_its_capacity_is_known) {
  const std::size_t allocator = bundle().find("internet", Role::allocator);
  const std::vector<double> bits{28, 12.5e6, 0.001, 0.998};
  std::int32_t action = 0;
  CHECK_THROWS(bundle().decide(allocator, bits.data(), 1, &action), "capacity of 100 Mbit/s, got 1.25e+07 (bit/s?)");
  Controller::Options options;
  options.capacity_mbps = 20;
  Controller controller(bundle(), "internet", options);
  const std::vector<double> kilobits{28, 12'500, 0.001, 0.998};
  CHECK_THROWS(controller.tick(kilobits.data(), 0), "capacity of 20 Mbit/s, got 12500 (kbit/s?");
  const std::vector<double> over{28, 150, 0.001, 0.998};
  const Decision& decision = controller.tick(over.data(), 0);
  CHECK_EQ(decision.action, 9);
  CHECK_EQ(decision.allocation_mbps, 20.0);
  CHECK(decision.allocation_cause == Cause::over_capacity);
}
