#include "micro_suite.hpp"

#include <numeric>
#include <set>
#include <string>

//
#include <doctest/doctest.h>

namespace simt {

MicroOutcome run(const MicroKernel& kernel, Schedule schedule) {
  std::vector<std::uint32_t> in(micro_elements);
  std::iota(in.begin(), in.end(), 0U);
  Memory memory;
  MicroArguments arguments{};
  arguments.in = memory.input(in, "in");
  arguments.data = memory.in_out(std::vector<std::uint32_t>(micro_elements), "data");
  arguments.out = memory.output<std::uint32_t>(micro_elements, "out");
  arguments.bytes = memory.in_out(std::vector<std::uint8_t>(micro_elements), "bytes");
  MicroOutcome outcome{launch(memory, kernel.geometry, kernel.kernel, arguments, {schedule, 7, 2}), {}};
  outcome.out.assign(arguments.out, arguments.out + micro_elements);
  return outcome;
}

void check_racy(const std::vector<MicroKernel>& kernels) {
  for (const MicroKernel& kernel : kernels)
    for (const Schedule schedule : schedules) {
      CAPTURE(kernel.name);
      CAPTURE(static_cast<int>(schedule));
      const Report report = run(kernel, schedule).report;
      CHECK(report.fault == "");
      CHECK(!report.findings.empty());
    }
}

void check_race_free(const std::vector<MicroKernel>& kernels) {
  for (const MicroKernel& kernel : kernels)
    for (const Schedule schedule : schedules) {
      CAPTURE(kernel.name);
      CAPTURE(static_cast<int>(schedule));
      const Report report = run(kernel, schedule).report;
      CHECK_MESSAGE(report.clean(), report.text());
    }
}

void check_pairs(const std::vector<MicroKernel>& racy, const std::vector<MicroKernel>& race_free) {
  std::set<std::string_view> names;
  REQUIRE(racy.size() == race_free.size());
  for (std::size_t i = 0; i < racy.size(); ++i) {
    CHECK(racy[i].name == race_free[i].name);
    CHECK(names.insert(racy[i].name).second);
  }
}

void check_faulty(const std::vector<MicroKernel>& kernels) {
  for (const MicroKernel& kernel : kernels)
    for (const Schedule schedule : schedules) {
      CAPTURE(kernel.name);
      CAPTURE(static_cast<int>(schedule));
      const Report report = run(kernel, schedule).report;
      CHECK_MESSAGE(report.fault.find(kernel.fault) != std::string::npos, report.text());
      CHECK(!report.clean());
    }
}

}  // namespace simt
