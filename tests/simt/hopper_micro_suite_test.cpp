// torch-free
// The twins of HopperDevice's operations: what must be found is, and nothing else.
#include <cstddef>
#include <string_view>
#include <vector>

#include "micro_kernels.hpp"
#include "micro_suite.hpp"

//
#include <doctest/doctest.h>

using namespace simt;

namespace {

void check_poison(const std::vector<MicroKernel>& kernels, std::string_view name) {
  for (const MicroKernel& kernel : kernels) {
    if (kernel.name != name) continue;
    for (const Schedule schedule : schedules) {
      const MicroOutcome outcome = run(kernel, schedule);
      for (std::size_t i = 0; i < 128; ++i) REQUIRE(outcome.out[i] == 0xFFFFFFFF);
    }
    return;
  }
  FAIL("no such kernel: ", name);
}

}  // namespace

TEST_CASE("simt: every racy kernel with tensor copies or products of warpgroups is found out") {
  check_racy(racy_tile_kernels());
  check_racy(racy_product_kernels());
}

TEST_CASE("simt: no race-free kernel with tensor copies or products of warpgroups is accused") {
  check_race_free(race_free_tile_kernels());
  check_race_free(race_free_product_kernels());
}

TEST_CASE("simt: kernels with tensor copies or products of warpgroups are pairs, each of its own") {
  check_pairs(racy_tile_kernels(), race_free_tile_kernels());
  check_pairs(racy_product_kernels(), race_free_product_kernels());
}

TEST_CASE("simt: misuse of tensor copies and of products stops the launch with a reason") {
  check_faulty(faulty_tile_kernels());
  check_faulty(faulty_product_kernels());
}

TEST_CASE("simt: tiles are NaN until their phase is waited for, and sums until they are handed back") {
  check_poison(racy_tile_kernels(), "tile_waited_for_with_the_other_parity");
  check_poison(faulty_product_kernels(), "sums_not_taken_back");
}
