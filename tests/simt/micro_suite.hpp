#pragma once

#include <cstdint>
#include <vector>

#include "launch.hpp"
#include "micro_kernels.hpp"

namespace simt {

struct MicroOutcome {
  Report report;
  std::vector<std::uint32_t> out;
};

[[nodiscard]] MicroOutcome run(const MicroKernel& kernel, Schedule schedule);

// Checks for each kernel under each schedule, for a test case.
void check_racy(const std::vector<MicroKernel>& kernels);
void check_race_free(const std::vector<MicroKernel>& kernels);
void check_pairs(const std::vector<MicroKernel>& racy, const std::vector<MicroKernel>& race_free);
void check_faulty(const std::vector<MicroKernel>& kernels);

}  // namespace simt
