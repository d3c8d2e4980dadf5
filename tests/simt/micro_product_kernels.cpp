// The accesses of these kernels are compiled with -fsanitize=thread; see sanitizer_callbacks.cpp.
#include <cstring>

#include "hopper_micro_body.hpp"

namespace simt {

using D = HopperDevice;
using lisa::cuda::Bf16;
using lisa::cuda::Major;
using lisa::cuda::matrix_descriptor;
using lisa::cuda::Swizzle;
using namespace hopper_micro;

namespace {

using Sums = float[8][4];

void start_product(const Micro& m, Sums& sums, int tile = 0) {
  const std::uint64_t matrix = matrix_descriptor(D::matrix_address(m.s + tile * tile_words), 0, 256, Swizzle::bytes32);
  D::multiply_shared<Bf16, Major::k>(sums, matrix, matrix);
  D::commit_products();
}

void keep(const Micro& m, const Sums& sums) { std::memcpy(m.out + m.t, &sums[0][0], sizeof(float)); }

/// A tile of ones bits for everyone to multiply.
void fill_for_products(const Micro& m, int tile = 0) {
  if (m.t < 128) fill(m, tile);
  D::fence_async_proxy();
  D::barrier();
}

}  // namespace

std::vector<MicroKernel> racy_product_kernels() {
  return {
      {"product_of_unfenced_writes", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill(m);
         D::barrier();
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         keep(m, sums);
       })},
      {"product_of_unordered_writes", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill(m);
         D::fence_async_proxy();
         D::sync_warp();
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         keep(m, sums);
       })},
      {"product_of_a_tile_on_its_way", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         D::wait_phase(barrier(m), 0);
         keep(m, sums);
       })},
      {"product_of_a_tile_that_one_warp_waited_for", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         if (m.t < 32) D::wait_phase(barrier(m), 0);
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         keep(m, sums);
       })},
      {"operand_overwritten", warpgroup_and_warp, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         if (m.t < 128) {
           D::fence_products(sums);
           start_product(m, sums);
         }
         D::barrier();
         if (m.t == 128) m.s[0] = 7;
         if (m.t < 128) {
           D::wait_products<0>(sums);
           keep(m, sums);
         }
       })},
      {"operand_overwritten_by_its_own_warpgroup", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         start_product(m, sums);
         m.s[4 * m.t] = 7;
         D::wait_products<0>(sums);
         keep(m, sums);
       })},
      {"products_one_group_too_few", warpgroup, micro([](const Micro& m) {
         Sums first = {}, second = {};
         fill_for_products(m);
         fill_for_products(m, 1);
         D::fence_products(first, second);
         start_product(m, first);
         start_product(m, second, 1);
         D::wait_products<1>(first);
         m.s[tile_words + 4 * m.t] = 7;
         D::wait_products<0>(second);
         keep(m, second);
       })},
      {"stage_freed_before_its_product", warpgroup_and_warp, micro([](const Micro& m) {
         Sums sums = {};
         init(m, 1, 128);
         if (m.t == 128) {
           announce_and_load(m, m.in);
           D::wait_phase(barrier(m, 1), 0);
           announce_and_load(m, m.in);
           D::wait_phase(barrier(m), 1);
         }
         if (m.t < 128) {
           D::wait_phase(barrier(m), 0);
           D::fence_products(sums);
           start_product(m, sums);
           D::arrive(barrier(m, 1));
           D::wait_products<0>(sums);
           keep(m, sums);
         }
       })},
  };
}

std::vector<MicroKernel> race_free_product_kernels() {
  return {
      {"product_of_unfenced_writes", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill(m);
         D::fence_async_proxy();
         D::barrier();
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         keep(m, sums);
       })},
      {"product_of_unordered_writes", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill(m);
         D::barrier();
         D::fence_async_proxy();
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         keep(m, sums);
       })},
      {"product_of_a_tile_on_its_way", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 0);
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         keep(m, sums);
       })},
      {"product_of_a_tile_that_one_warp_waited_for", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         if (m.t < 32) D::wait_phase(barrier(m), 0);
         D::barrier();
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         keep(m, sums);
       })},
      {"operand_overwritten", warpgroup_and_warp, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         if (m.t < 128) {
           D::fence_products(sums);
           start_product(m, sums);
           D::wait_products<0>(sums);
           keep(m, sums);
         }
         D::barrier();
         if (m.t == 128) m.s[0] = 7;
       })},
      {"operand_overwritten_by_its_own_warpgroup", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         m.s[4 * m.t] = 7;
         keep(m, sums);
       })},
      {"products_one_group_too_few", warpgroup, micro([](const Micro& m) {
         Sums first = {}, second = {};
         fill_for_products(m);
         fill_for_products(m, 1);
         D::fence_products(first, second);
         start_product(m, first);
         start_product(m, second, 1);
         D::wait_products<1>(first);
         m.s[4 * m.t] = 7;
         D::wait_products<0>(second);
         keep(m, second);
       })},
      {"stage_freed_before_its_product", warpgroup_and_warp, micro([](const Micro& m) {
         Sums sums = {};
         init(m, 1, 128);
         if (m.t == 128) {
           announce_and_load(m, m.in);
           D::wait_phase(barrier(m, 1), 0);
           announce_and_load(m, m.in);
           D::wait_phase(barrier(m), 1);
         }
         if (m.t < 128) {
           D::wait_phase(barrier(m), 0);
           D::fence_products(sums);
           start_product(m, sums);
           D::wait_products<0>(sums);
           D::arrive(barrier(m, 1));
           keep(m, sums);
         }
       })},
  };
}

std::vector<MicroKernel> faulty_product_kernels() {
  return {
      {"product_without_a_fence", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         start_product(m, sums);
         D::wait_products<0>(sums);
       }),
       "no fence covers"},
      {"second_product_without_a_fence", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
         start_product(m, sums);
         D::wait_products<0>(sums);
       }),
       "no fence covers"},
      {"sums_written_after_the_fence", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         sums[3][1] = 1.0F;
         start_product(m, sums);
         D::wait_products<0>(sums);
       }),
       "between the fence and the product"},
      {"sums_written_while_adding", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         start_product(m, sums);
         sums[3][1] = 1.0F;
         D::wait_products<0>(sums);
         keep(m, sums);
       }),
       "the sums of a product on its way were written"},
      {"left_operand_written_while_multiplying", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         std::uint32_t left[1][4] = {{1, 2, 3, 4}};
         fill_for_products(m);
         D::fence_products(sums, left);
         const std::uint64_t matrix = matrix_descriptor(D::matrix_address(m.s), 0, 256, Swizzle::bytes32);
         D::multiply_registers<Bf16, Major::k>(sums, left[0], matrix);
         D::commit_products();
         left[0][2] = 5;
         D::wait_products<0>(sums, left);
         keep(m, sums);
       }),
       "the left operand of a product on its way was written"},
      {"products_never_waited_for", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         start_product(m, sums);
       }),
       "products that were never waited for"},
      {"products_not_committed", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         const std::uint64_t matrix = matrix_descriptor(D::matrix_address(m.s), 0, 256, Swizzle::bytes32);
         D::multiply_shared<Bf16, Major::k>(sums, matrix, matrix);
         D::wait_products<0>(sums);
       }),
       "registers that a product is still using"},
      {"sums_taken_back_too_early", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<1>(sums);
       }),
       "registers that a product is still using"},
      {"sums_not_taken_back", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         start_product(m, sums);
         D::wait_products<0>();
         keep(m, sums);
         start_product(m, sums);
       }),
       "no wait has handed back"},
      {"half_a_warpgroup_multiplies", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         if (m.t < 64) {
           D::fence_products(sums);
           start_product(m, sums);
           D::wait_products<0>(sums);
         }
       }),
       "divergent warpgroup"},
      {"products_of_two_branches", warpgroup, micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
         const std::uint64_t matrix = matrix_descriptor(D::matrix_address(m.s), 0, 256, Swizzle::bytes32);
         if (m.t < 64) {
           D::multiply_shared<Bf16, Major::k>(sums, matrix, matrix);
         } else {
           D::multiply_shared<Bf16, Major::k>(sums, matrix, matrix);
         }
       }),
       "divergent warpgroup"},
      {"no_whole_warpgroup",
       {{1, 1, 1}, 64, 8192 + 64},
       micro([](const Micro& m) {
         Sums sums = {};
         fill_for_products(m);
         D::fence_products(sums);
       }),
       "whole warpgroup"},
  };
}

}  // namespace simt
