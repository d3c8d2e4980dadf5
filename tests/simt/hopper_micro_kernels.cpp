// The accesses of these kernels are compiled with -fsanitize=thread; see sanitizer_callbacks.cpp.
#include <cstring>

#include "hopper_device.hpp"
#include "micro_body.hpp"

namespace simt {

namespace {

using D = HopperDevice;
using lisa::cuda::Bf16;
using lisa::cuda::LaunchGeometry;
using lisa::cuda::Major;
using lisa::cuda::matrix_descriptor;
using lisa::cuda::Swizzle;
using lisa::cuda::TransactionBarrier;

using Sums = float[8][4];

constexpr int tile_bytes = 2048;  // 64 rows of 16 elements
constexpr int tile_words = tile_bytes / 4;
constexpr int barriers_at = 8192;
constexpr LaunchGeometry warpgroup{{1, 1, 1}, 128, 8192 + 64};
constexpr LaunchGeometry warpgroup_and_warp{{1, 1, 1}, 160, 8192 + 64};

TransactionBarrier* barrier(const Micro& m, int i = 0) {
  return reinterpret_cast<TransactionBarrier*>(m.s + barriers_at / 4) + i;
}

/// Two barriers, for all to use.
void init(const Micro& m, int first_arrivals = 1, int second_arrivals = 1) {
  if (m.t == 0) {
    D::init_barrier(barrier(m, 0), first_arrivals);
    D::init_barrier(barrier(m, 1), second_arrivals);
    D::fence_async_proxy();
  }
  D::barrier();
}

/// Words as rows of 16 elements, in boxes of 64 rows.
TensorMap map_of(const std::uint32_t* words, int rows = 128) {
  return tensor_map({words, {16, rows, 1, 1, 1}, {32, 4096, 4096, 4096}, {16, 64, 1, 1, 1}, Swizzle::bytes32});
}

void load(const Micro& m, const std::uint32_t* from, int tile = 0, int number = 0) {
  D::load_tile(m.s + tile * tile_words, map_of(from), {{0, 0, 0, 0, 0}}, barrier(m, number));
}
void announce_and_load(const Micro& m, const std::uint32_t* from, int tile = 0, int number = 0) {
  D::arrive_expecting(barrier(m, number), tile_bytes);
  load(m, from, tile, number);
}

void fill(const Micro& m, int tile = 0) {
  for (int i = 0; i < 4; ++i) m.s[tile * tile_words + 4 * m.t + i] = static_cast<std::uint32_t>(m.t);
}

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

std::vector<MicroKernel> racy_hopper_kernels() {
  return {
      {"tile_read_before_its_phase", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         m.out[m.t] = m.s[m.t];
         D::wait_phase(barrier(m), 0);
       })},
      {"tile_waited_for_by_others", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         if (m.t < 64) D::wait_phase(barrier(m), 0);
         m.out[m.t] = m.s[m.t];
       })},
      {"tile_waited_for_with_the_other_parity", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 1);
         m.out[m.t] = m.s[m.t];
         D::barrier();
         D::wait_phase(barrier(m), 0);
       })},
      {"tile_over_a_stage_in_use", warpgroup, micro([](const Micro& m) {
         init(m);
         fill(m);
         D::fence_async_proxy();
         D::barrier();
         m.out[m.t] = m.s[127 - m.t];
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 0);
       })},
      {"tile_over_unfenced_writes", warpgroup, micro([](const Micro& m) {
         init(m);
         fill(m);
         D::barrier();
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 0);
       })},
      {"stage_freed_before_it_is_read", warpgroup, micro([](const Micro& m) {
         init(m, 1, 127);
         if (m.t == 0) {
           announce_and_load(m, m.in);
           D::wait_phase(barrier(m, 1), 0);
           announce_and_load(m, m.in);
           D::wait_phase(barrier(m), 1);
         } else {
           D::wait_phase(barrier(m), 0);
           D::arrive(barrier(m, 1));
           m.out[m.t] = m.s[m.t];
         }
       })},
      {"two_tiles_to_one_place", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) {
           D::arrive_expecting(barrier(m), 2 * tile_bytes);
           load(m, m.in);
           load(m, m.in);
         }
         D::wait_phase(barrier(m), 0);
       })},
      {"tile_source_changes", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) announce_and_load(m, m.data);
         if (m.t == 5) m.data[0] = 1;
         D::wait_phase(barrier(m), 0);
       })},
      {"barrier_not_shown_to_copies", warpgroup, micro([](const Micro& m) {
         if (m.t == 0) D::init_barrier(barrier(m), 1);
         D::barrier();
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 0);
       })},
      {"handed_over_without_an_arrival", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 1) m.s[0] = 1;
         if (m.t == 0) D::arrive(barrier(m));
         D::wait_phase(barrier(m), 0);
         m.out[m.t] = m.s[0];
       })},
      {"written_after_the_arrival", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) {
           D::arrive(barrier(m));
           m.s[0] = 1;
         }
         D::wait_phase(barrier(m), 0);
         m.out[m.t] = m.s[0];
       })},
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

std::vector<MicroKernel> race_free_hopper_kernels() {
  return {
      {"tile_read_before_its_phase", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 0);
         m.out[m.t] = m.s[m.t];
       })},
      {"tile_waited_for_by_others", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         if (m.t < 64) D::wait_phase(barrier(m), 0);
         D::barrier();
         m.out[m.t] = m.s[m.t];
       })},
      {"tile_waited_for_with_the_other_parity", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 0);
         m.out[m.t] = m.s[m.t];
         D::barrier();
         D::wait_phase(barrier(m), 0);
       })},
      {"tile_over_a_stage_in_use", warpgroup, micro([](const Micro& m) {
         init(m);
         fill(m);
         D::fence_async_proxy();
         D::barrier();
         m.out[m.t] = m.s[127 - m.t];
         D::barrier();
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 0);
       })},
      {"tile_over_unfenced_writes", warpgroup, micro([](const Micro& m) {
         init(m);
         fill(m);
         D::barrier();
         if (m.t == 0) {
           D::fence_async_proxy();
           announce_and_load(m, m.in);
         }
         D::wait_phase(barrier(m), 0);
       })},
      {"stage_freed_before_it_is_read", warpgroup, micro([](const Micro& m) {
         init(m, 1, 127);
         if (m.t == 0) {
           announce_and_load(m, m.in);
           D::wait_phase(barrier(m, 1), 0);
           announce_and_load(m, m.in);
           D::wait_phase(barrier(m), 1);
         } else {
           D::wait_phase(barrier(m), 0);
           m.out[m.t] = m.s[m.t];
           D::arrive(barrier(m, 1));
         }
       })},
      {"two_tiles_to_one_place", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) {
           D::arrive_expecting(barrier(m), 2 * tile_bytes);
           load(m, m.in);
           load(m, m.in, 1);
         }
         D::wait_phase(barrier(m), 0);
       })},
      {"tile_source_changes", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) announce_and_load(m, m.data);
         D::wait_phase(barrier(m), 0);
         if (m.t == 5) m.data[0] = 1;
       })},
      {"barrier_not_shown_to_copies", warpgroup, micro([](const Micro& m) {
         if (m.t == 0) {
           D::init_barrier(barrier(m), 1);
           D::fence_async_proxy();
         }
         D::barrier();
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 0);
       })},
      {"handed_over_without_an_arrival", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 1) {
           m.s[0] = 1;
           D::arrive(barrier(m));
         }
         D::wait_phase(barrier(m), 0);
         m.out[m.t] = m.s[0];
       })},
      {"written_after_the_arrival", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) {
           m.s[0] = 1;
           D::arrive(barrier(m));
         }
         D::wait_phase(barrier(m), 0);
         m.out[m.t] = m.s[0];
       })},
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

std::vector<MicroKernel> faulty_hopper_kernels() {
  return {
      {"tile_never_waited_for", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) announce_and_load(m, m.in);
       }),
       "nobody waited for"},
      {"fewer_bytes_than_announced", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) {
           D::arrive_expecting(barrier(m), 2 * tile_bytes);
           load(m, m.in);
         }
         D::wait_phase(barrier(m), 0);
       }),
       "4096 bytes were announced and 2048 copied"},
      {"more_bytes_than_announced", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) {
           load(m, m.in);
           load(m, m.in, 1);
           D::arrive_expecting(barrier(m), tile_bytes);
         }
         D::wait_phase(barrier(m), 0);
       }),
       "2048 bytes were announced and 4096 copied"},
      {"an_arrival_missing", warpgroup, micro([](const Micro& m) {
         init(m, 2);
         if (m.t == 0) announce_and_load(m, m.in);
         D::wait_phase(barrier(m), 0);
       }),
       "a phase never ends: thread "},
      {"an_arrival_too_many", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t < 2) D::arrive_expecting(barrier(m), tile_bytes);
         D::wait_phase(barrier(m), 0);
       }),
       "more arrivals than a phase expects"},
      {"no_barrier_there", warpgroup, micro([](const Micro& m) {
         init(m);
         D::arrive(barrier(m, 2));
       }),
       "no transaction barrier was initialised"},
      {"tile_misaligned", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) D::load_tile(m.s + 8, map_of(m.in), {{0, 0, 0, 0, 0}}, barrier(m));
       }),
       "multiple of 128 bytes"},
      {"tile_into_global_memory", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) D::load_tile(m.out, map_of(m.in), {{0, 0, 0, 0, 0}}, barrier(m));
       }),
       "not inside of shared memory"},
      {"tensor_longer_than_its_memory", warpgroup, micro([](const Micro& m) {
         init(m);
         if (m.t == 0) D::load_tile(m.s, map_of(m.in, 129), {{0, 100, 0, 0, 0}}, barrier(m));
       }),
       "bytes behind in"},
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
