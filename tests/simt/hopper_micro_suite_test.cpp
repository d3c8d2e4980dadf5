// torch-free
// The twins of HopperDevice's operations: what must be found is, and nothing else.
#include <string>
#include <vector>

#include "micro_kernels.hpp"
#include "micro_suite.hpp"

//
#include <doctest/doctest.h>

using namespace simt;

TEST_CASE("simt: every racy kernel with tensor copies or products of warpgroups is found out") {
  check_racy(racy_hopper_kernels());
}

TEST_CASE("simt: no race-free kernel with tensor copies or products of warpgroups is accused") {
  check_race_free(race_free_hopper_kernels());
}

TEST_CASE("simt: kernels with tensor copies or products of warpgroups are pairs, each of its own") {
  check_pairs(racy_hopper_kernels(), race_free_hopper_kernels());
}

TEST_CASE("simt: misuse of tensor copies and of products stops the launch with a reason") {
  check_faulty(faulty_hopper_kernels());
}
