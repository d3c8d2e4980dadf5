// The accesses of these kernels are compiled with -fsanitize=thread; see sanitizer_callbacks.cpp.
#include "hopper_micro_body.hpp"

namespace simt {

using D = HopperDevice;
using namespace hopper_micro;

std::vector<MicroKernel> racy_tile_kernels() {
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
  };
}

std::vector<MicroKernel> race_free_tile_kernels() {
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
  };
}

std::vector<MicroKernel> faulty_tile_kernels() {
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
  };
}

}  // namespace simt
