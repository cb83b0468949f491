// What a certificate says about given times: verdicts, exit status, JSON.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "certificate.h"
#include "check.h"
#include "report.h"

using namespace linkcast::bench;

namespace {

const WorkloadInfo& lstm() { return workload_infos()[0]; }  // p99.9 of the call below 5000 us

/// Calls of 100 us, and `slow` of them of 6000 us, of which `preempted` lost the CPU.
Cell cell(std::uint64_t count, std::uint64_t slow, std::uint64_t preempted, std::optional<double> rate_hz = {}) {
  Cell made;
  made.workload = &lstm();
  made.rate_hz = rate_hz;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t ns = i < slow ? 6'000'000 : 100'000;
    made.call.record(ns);
    if (rate_hz) made.tick.record(ns + 50'000);
  }
  made.missed_calls = slow;
  made.preempted_misses = preempted;
  made.p50_us = {100};
  made.p99_us = {100};
  return made;
}

Verdict verdict_of(Cell first) {
  std::vector<Cell> cells;
  cells.push_back(std::move(first));
  const auto verdicts = judge(cells);
  CHECK_EQ(verdicts.size(), 1U);
  return verdicts[0].verdict;
}

bool is(Verdict a, Verdict b) { return a == b; }

}  // namespace

TEST(one_slow_call_in_a_thousand_keeps_a_budget_of_p999) {
  CHECK(is(verdict_of(cell(1000, 0, 0)), Verdict::pass));
  CHECK(is(verdict_of(cell(1000, 1, 0)), Verdict::pass));
  CHECK(is(verdict_of(cell(1000, 2, 0)), Verdict::fail));
}

TEST(with_fewer_calls_the_longest_is_judged) {
  CHECK(is(verdict_of(cell(500, 0, 0)), Verdict::pass));
  CHECK(is(verdict_of(cell(500, 1, 0)), Verdict::fail));
}

TEST(calls_that_lost_the_cpu_are_late_and_not_slow) {
  CHECK(is(verdict_of(cell(1000, 20, 20)), Verdict::late));
  CHECK(is(verdict_of(cell(1000, 20, 19)), Verdict::late));  // one slow call of its own is within p99.9
  CHECK(is(verdict_of(cell(1000, 20, 18)), Verdict::fail));
}

TEST(a_late_start_is_told_from_a_slow_call) {
  Cell paced = cell(2000, 0, 0, 1000.0);
  for (int i = 0; i < 3; ++i) paced.tick.record(9'000'000);
  Cell empty;
  empty.rate_hz = 1000.0;
  for (int i = 0; i < 2000; ++i) empty.tick.record(i < 4 ? 8'000'000 : 50'000);
  std::vector<Cell> cells;
  cells.push_back(std::move(paced));
  cells.push_back(std::move(empty));
  const auto verdicts = judge(cells);
  CHECK_EQ(verdicts.size(), 1U);
  CHECK(is(verdicts[0].verdict, Verdict::late));
  CHECK_NEAR(verdicts[0].call_us, 100, 0.1);
  CHECK_NEAR(verdicts[0].tick_us, 9000, 9);
  CHECK_NEAR(*verdicts[0].empty_tick_us, 8000, 8);
  CHECK_EQ(exit_status(verdicts), 3);
}

TEST(neighbours_and_the_reference_are_not_judged) {
  Cell beside = cell(1000, 900, 0);
  beside.hogs = true;
  Cell reference = cell(1000, 900, 0);
  reference.reference = true;
  std::vector<Cell> cells;
  cells.push_back(std::move(beside));
  cells.push_back(std::move(reference));
  CHECK_EQ(judge(cells).size(), 0U);
  cells.push_back(cell(1000, 0, 0));
  CHECK(is(judge(cells)[0].verdict, Verdict::pass));
}

TEST(the_exit_status_is_the_worst_verdict) {
  BudgetVerdict pass, late, fail;
  late.verdict = Verdict::late;
  fail.verdict = Verdict::fail;
  CHECK_EQ(exit_status({pass, pass}), 0);
  CHECK_EQ(exit_status({pass, late}), 3);
  CHECK_EQ(exit_status({late, fail, pass}), 1);
}

TEST(percentiles_need_samples) {
  Histogram histogram;
  for (int i = 0; i < 999; ++i) histogram.record(1000);
  CHECK(supported_percentile_us(histogram, 99).has_value());
  histogram.clear();
  for (int i = 0; i < 900; ++i) histogram.record(1000);
  CHECK(!supported_percentile_us(histogram, 99.9).has_value());
  for (int i = 0; i < 100; ++i) histogram.record(1000);
  CHECK(supported_percentile_us(histogram, 99.9).has_value());
  CHECK(!supported_percentile_us(histogram, 99.99).has_value());
}

TEST(a_paced_call_stands_beside_the_same_one_after_prepare) {
  const auto push = [](const char* name, std::uint64_t us, std::optional<double> rate_hz) {
    Cell made;
    for (const WorkloadInfo& info : workload_infos())
      if (info.name == std::string(name)) made.workload = &info;
    made.rate_hz = rate_hz;
    for (int i = 0; i < 100; ++i) made.call.record(us * 1000);
    made.p50_us = {static_cast<double>(us)};
    return made;
  };
  Certificate certificate;
  certificate.cells.push_back(push("push", 40, 100.0));
  certificate.cells.push_back(push("push_prepared", 10, 100.0));
  certificate.cells.push_back(push("push_prepared", 5, std::nullopt));  // back to back there is nothing to prepare
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::tmpfile(), &std::fclose);
  print(certificate, out.get());
  std::string text(static_cast<std::size_t>(std::ftell(out.get())), ' ');
  std::rewind(out.get());
  CHECK_EQ(std::fread(text.data(), 1, text.size(), out.get()), text.size());
  const std::size_t table = text.find("us a call without / with prepare");
  CHECK(table != std::string::npos);
  const std::string line = text.substr(text.find("push, 100 Hz", table), text.find('\n', table));
  CHECK(line.find("40.0 /  10.0") != std::string::npos);
  CHECK(line.find("0.25") != std::string::npos);
  CHECK(text.find("push, back", table) == std::string::npos);
}

TEST(json_reads_back) {
  Certificate certificate;
  certificate.options.rounds = 1;
  certificate.created = "2026-01-02T03:04:05Z";
  certificate.models.push_back(
      {"quote \" and \\", "models/a.tflite", "00", "native", "line\nbreak", "scalar", "float32", 0, ""});
  certificate.cells.push_back(cell(1000, 1, 0, 100.0));
  const auto json = linkcast::Json::parse(to_json(certificate), "certificate");
  CHECK_EQ(json.at("created").string(), "2026-01-02T03:04:05Z");
  CHECK_EQ(json.at("models").object()[0].first, "quote \" and \\");
  CHECK_EQ(json.at("models").object()[0].second.at("backend_reason").string(), "line\nbreak");
  const auto& first = json.at("cells").array()[0];
  CHECK_EQ(first.at("samples").number(), 1000);
  CHECK_NEAR(first.at("call_us").at("p50").number(), 100, 0.1);
  CHECK_EQ(first.at("call_us").at("max").number(), 6000);
  CHECK_NEAR(first.at("tick_us").at("p99.9").number(), 150, 0.2);
  CHECK_EQ(first.at("missed_budget").number(), 1);
  CHECK_EQ(json.at("verdicts").array()[0].at("verdict").string(), "pass");
}
