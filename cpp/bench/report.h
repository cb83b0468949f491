// A certificate for people and for programs.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "certificate.h"

namespace linkcast::bench {

/// JSON as engine/linkcast/bench/schema.json describes it.
std::string to_json(const Certificate& certificate);

/// Verdicts, the times of every cell, first calls, the machine.
void print(const Certificate& certificate, std::FILE* out);

/// 0: every budget is kept; 1: a call takes too long; 3: calls keep the budgets, but start late on this machine.
int exit_status(const std::vector<BudgetVerdict>& verdicts) noexcept;

}  // namespace linkcast::bench
