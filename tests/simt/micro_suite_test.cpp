// torch-free
// The detector must find every planted defect, under every schedule, and nothing in the right counterparts.
#include <numeric>
#include <set>
#include <string>

#include "launch.hpp"
#include "micro_kernels.hpp"

//
#include <doctest/doctest.h>

using namespace simt;

namespace {

struct Outcome {
  Report report;
  std::vector<std::uint32_t> out;
};

Outcome run(const MicroKernel& kernel, Schedule schedule) {
  std::vector<std::uint32_t> in(micro_elements);
  std::iota(in.begin(), in.end(), 0U);
  Memory memory;
  MicroArguments arguments{};
  arguments.in = memory.input(in, "in");
  arguments.data = memory.in_out(std::vector<std::uint32_t>(micro_elements), "data");
  arguments.out = memory.output<std::uint32_t>(micro_elements, "out");
  arguments.bytes = memory.in_out(std::vector<std::uint8_t>(micro_elements), "bytes");
  Outcome outcome{launch(memory, kernel.geometry, kernel.kernel, arguments, {schedule, 7, 2}), {}};
  outcome.out.assign(arguments.out, arguments.out + micro_elements);
  return outcome;
}

}  // namespace

TEST_CASE("simt: every racy kernel is found out") {
  REQUIRE(racy_kernels().size() >= 40);
  for (const MicroKernel& kernel : racy_kernels())
    for (const Schedule schedule : schedules) {
      CAPTURE(kernel.name);
      CAPTURE(static_cast<int>(schedule));
      const Report report = run(kernel, schedule).report;
      CHECK(report.fault == "");
      CHECK(!report.findings.empty());
    }
}

TEST_CASE("simt: no race-free kernel is accused") {
  REQUIRE(race_free_kernels().size() >= 40);
  for (const MicroKernel& kernel : race_free_kernels())
    for (const Schedule schedule : schedules) {
      CAPTURE(kernel.name);
      CAPTURE(static_cast<int>(schedule));
      const Report report = run(kernel, schedule).report;
      CHECK_MESSAGE(report.clean(), report.text());
    }
}

TEST_CASE("simt: racy and race-free kernels are pairs, each of its own") {
  std::set<std::string_view> names;
  const std::vector<MicroKernel> racy = racy_kernels(), race_free = race_free_kernels();
  REQUIRE(racy.size() == race_free.size());
  for (std::size_t i = 0; i < racy.size(); ++i) {
    CHECK(racy[i].name == race_free[i].name);
    CHECK(names.insert(racy[i].name).second);
  }
}

TEST_CASE("simt: what a GPU would trap at or hang in stops the launch with a reason") {
  for (const MicroKernel& kernel : faulty_kernels())
    for (const Schedule schedule : schedules) {
      CAPTURE(kernel.name);
      CAPTURE(static_cast<int>(schedule));
      const Report report = run(kernel, schedule).report;
      CHECK_MESSAGE(report.fault.find(kernel.fault) != std::string::npos, report.text());
      CHECK(!report.clean());
    }
}

TEST_CASE("simt: reports name the place in the source") {
  const Report report = run(racy_kernels()[0], Schedule::forward).report;
  REQUIRE(!report.findings.empty());
  CHECK_MESSAGE(report.text().find("micro_kernels.cpp:") != std::string::npos, report.text());
  CHECK(report.text().find("in shared memory at byte ") != std::string::npos);
}

TEST_CASE("simt: the bytes of a copy in flight are NaN until they are waited for") {
  for (const MicroKernel& kernel : racy_kernels()) {
    if (kernel.name != "copy_read_before_wait" && kernel.name != "zero_filled_copy_read_early") continue;
    for (const Schedule schedule : schedules) {
      const Outcome outcome = run(kernel, schedule);
      for (std::size_t i = 0; i < 64; ++i) REQUIRE(outcome.out[i] == 0xFFFFFFFF);
    }
  }
}

TEST_CASE("simt: geometries that no GPU starts are refused") {
  Memory memory;
  const auto refused = [&](const lisa::cuda::LaunchGeometry& geometry) {
    CHECK_THROWS_AS(launch(memory, geometry, race_free_kernels()[0].kernel, MicroArguments{}), std::invalid_argument);
  };
  refused({{1, 1, 1}, 48, 0});
  refused({{1, 1, 1}, 1056, 0});
  refused({{-1, 1, 1}, 32, 0});
  refused({{1, 70000, 1}, 32, 0});
  refused({{1, 1, 1}, 32, 227 * 1024 + 1});
}
