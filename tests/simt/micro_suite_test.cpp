// torch-free
// The detector must find every planted defect, under every schedule, and nothing in the right counterparts.
#include <stdexcept>
#include <string>

#include "launch.hpp"
#include "micro_kernels.hpp"
#include "micro_suite.hpp"

//
#include <doctest/doctest.h>

using namespace simt;

TEST_CASE("simt: every racy kernel is found out") {
  REQUIRE(racy_kernels().size() >= 40);
  check_racy(racy_kernels());
}

TEST_CASE("simt: no race-free kernel is accused") {
  REQUIRE(race_free_kernels().size() >= 40);
  check_race_free(race_free_kernels());
}

TEST_CASE("simt: racy and race-free kernels are pairs, each of its own") {
  check_pairs(racy_kernels(), race_free_kernels());
}

TEST_CASE("simt: what a GPU would trap at or hang in stops the launch with a reason") {
  check_faulty(faulty_kernels());
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
      const MicroOutcome outcome = run(kernel, schedule);
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
