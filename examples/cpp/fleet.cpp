// Links of one box that tick together, in C++: one call forecasts all of them, and another thread may reload the
// models.
//
//     fleet [links] [ticks]          default: 16 60
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <vector>

#include <linkcast/linkcast.hpp>

namespace {

/// (links, 4): made up here; a controller reads it from its interfaces.
std::vector<float> measure(std::size_t links, int tick) {
  std::vector<float> samples;
  for (std::size_t link = 0; link < links; ++link) {
    const float load = 0.5F + 0.5F * std::sin(0.2F * static_cast<float>(tick) + static_cast<float>(link));
    samples.insert(samples.end(), {40 + 20 * load, 1 + 2 * load, 0.01F * load, 1 - 0.02F * load});
  }
  return samples;
}

void run(std::size_t links, int ticks) {
  linkcast::Engine engine;
  const linkcast_model forecaster = engine.find("internet", LINKCAST_ROLE_FORECASTER);
  const linkcast_model allocator = engine.find("internet", LINKCAST_ROLE_ALLOCATOR);
  linkcast::Stream stream(engine, forecaster, links);

  linkcast::Answers answers = linkcast::make_answers(links);
  std::vector<float> samples;
  for (int tick = 0; tick < ticks; ++tick) {
    samples = measure(links, tick);
    stream.push(samples, answers);
    stream.advance();
    if (tick == ticks / 2) {
      engine.reload();  // here: the same folder; in a service: the one that training has written
      stream.follow();  // the windows go over to the new models
    }
  }

  const linkcast_model_info info = engine.describe(forecaster);
  std::cout << info.name << ": " << info.backend << " (" << info.isa << "), " << info.backend_reason << "\n";
  for (std::size_t link = 0; link < links && link < 4; ++link) {
    const int action = engine.decide(allocator, linkcast::Floats(&samples[4 * link], 4));
    std::cout << "link " << link << ": " << answers[link].mbps << " Mbit/s next, allocate " << (action + 1) * 10
              << " %\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  const long links = argc > 1 ? std::atol(argv[1]) : 16;
  const int ticks = argc > 2 ? std::atoi(argv[2]) : 60;
  if (links < 1 || links > LINKCAST_MAX_BATCH || ticks < 10) {
    std::cerr << "usage: fleet [links] [ticks, at least 10]\n";
    return 2;
  }
  try {
    run(static_cast<std::size_t>(links), ticks);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
