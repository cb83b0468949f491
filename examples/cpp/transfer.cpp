// Two decisions from the same forecasts, in C++: which of two paths to send over, and with which codec.
//
//     transfer [seconds] [megabytes]          default: 120 1
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <limits>
#include <vector>

#include <linkcast/linkcast.hpp>

namespace {

constexpr std::array<const char*, 2> kPaths{"fibre", "lte"};
constexpr std::size_t kHorizon = 5;  // steps ahead, seconds here

// As `linkcast measure-codecs` prints them for this machine.
constexpr std::array<const char*, 3> kNames{"zlib-1", "zlib-6", "lzma-6"};
const std::vector<linkcast_codec> kCodecs{linkcast::make_codec(0.45, 600, 2500), linkcast::make_codec(0.40, 160, 2600),
                                          linkcast::make_codec(0.30, 20, 500)};

/// (paths, 4): made up here; the fibre fails for a while.
std::vector<float> measure(int second) {
  const auto time = static_cast<float>(second);
  const float fibre = second >= 40 && second < 70 ? 0.2F : 20 + std::sin(time);
  return {12, fibre, 0, 1, 45, 8 + 2 * std::sin(time / 3), 0.01F, 0.98F};
}

/// (paths, kHorizon) the P10 of each path; NaN until its window is full.
std::vector<float> look_ahead(const linkcast::Stream& stream) {
  std::vector<float> p10;
  for (std::size_t path = 0; path < kPaths.size(); ++path)
    for (std::size_t steps = 1; steps <= kHorizon; ++steps) {
      const auto answer = stream.horizon(steps, path);
      p10.push_back(answer ? answer->p10 : std::numeric_limits<float>::quiet_NaN());
    }
  return p10;
}

void run(int seconds, double megabytes) {
  linkcast::Engine engine;
  linkcast::Stream stream(engine, engine.find("internet", LINKCAST_ROLE_FORECASTER), kPaths.size());
  linkcast_route_options options = linkcast::Route::default_options();
  options.margin = 0.2;
  options.stay_s = 5;
  linkcast::Route route(kPaths.size(), options);
  linkcast::Answers answers = linkcast::make_answers(kPaths.size());
  for (int second = 0; second < seconds; ++second) {
    stream.push(measure(second), answers);
    stream.advance();
    const auto choice = route.choose(look_ahead(stream), static_cast<std::uint64_t>(second) * 1'000'000'000);
    if (!choice.changed || choice.path < 0) continue;
    const auto path = static_cast<std::size_t>(choice.path);
    const auto level = linkcast::choose_compression(kCodecs, static_cast<std::uint64_t>(megabytes * 1e6),
                                                    linkcast::answer_of(answers[path], 0));
    if (!level) continue;
    std::cout << "second " << second << ": over " << kPaths[path] << ", "
              << (level->codec < 0 ? "no codec" : kNames[static_cast<std::size_t>(level->codec)]) << ", " << megabytes
              << " MB in " << level->seconds << " s\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? std::atoi(argv[1]) : 120, argc > 2 ? std::atof(argv[2]) : 1);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
