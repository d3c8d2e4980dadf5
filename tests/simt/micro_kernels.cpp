// The accesses of these kernels are compiled with -fsanitize=thread; see sanitizer_callbacks.cpp.
#include "micro_kernels.hpp"

#include "micro_body.hpp"

namespace simt {

namespace {

/// Starts thread t's copy of 16 bytes.
void copy(std::uint32_t* to, const std::uint32_t* from, int t) { Device::copy_async(to + 4 * t, from + 4 * t, true); }

/// Thread t adds up what thread 63 - t of each block has left in `data` behind the counters.
void read_all_blocks(const Micro& m, int blocks) {
  std::uint32_t sum = 0;
  for (int b = 0; b < blocks; ++b) sum += m.data[64 + b * 64 + 63 - m.t];
  m.out[m.t] = sum;
}

}  // namespace

std::vector<MicroKernel> racy_kernels() {
  return {
      {"neighbour_read", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         m.out[m.t] = m.s[63 - m.t];
       })},
      {"warp_barrier_across_warps", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::sync_warp();
         m.out[m.t] = m.s[m.t ^ 32];
       })},
      {"write_after_read", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier();
         m.out[m.t] = m.s[63 - m.t];
         m.s[m.t] = 0;
       })},
      {"everyone_writes", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[0] = m.t;
         m.out[m.t] = m.t;
       })},
      {"blocks_write_one_cell", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) m.out[0] = m.b;
       })},
      {"block_reads_the_others_result", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.b == 0)
           m.data[m.t] = m.t;
         else
           m.out[m.t] = m.data[m.t];
       })},
      {"shuffle_orders_nothing", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         m.out[m.t] = Device::shuffle_xor(m.t, 1) + m.s[m.t ^ 1];
       })},
      {"tree_reduction", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier();
         for (int n = 32; n > 0; n /= 2)
           if (m.t < n) m.s[m.t] += m.s[m.t + n];
         if (m.t == 0) m.out[0] = m.s[0];
       })},
      {"two_stages_one_barrier", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) {
           m.s[i % 2 * 64 + m.t] = i;
           Device::sync_warp();
           m.out[i * 64 + m.t] = m.s[i % 2 * 64 + 63 - m.t];
         }
       })},
      {"one_stage_one_barrier", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) {
           m.s[m.t] = i;
           Device::barrier();
           m.out[i * 64 + m.t] = m.s[63 - m.t];
         }
       })},
      {"atomic_against_plain_write", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0)
           m.data[0] = 7;
         else
           Device::atomic_add(m.data, 1);
       })},
      {"atomic_then_plain_read", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         Device::atomic_add(m.data, 1);
         m.out[m.t] = m.data[0];
       })},
      {"own_atomic_hides_the_others", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 1) Device::atomic_add(m.data, 1);
         if (m.t == 0) {
           Device::atomic_add(m.data, 1);
           m.out[0] = m.data[0];
         }
       })},
      {"histogram", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) { m.data[m.t % 8] += 1; })},
      {"bytes_of_one_word", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         auto* words = reinterpret_cast<std::uint32_t*>(m.bytes);
         words[m.t / 4] |= 1U << (8 * (m.t % 4));
       })},
      {"halves_of_one_word", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) { m.s[m.t / 2] = m.t; })},
      {"copy_read_before_wait", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         m.out[m.t] = m.s[4 * m.t];
         Device::wait_copies<0>();
       })},
      {"copy_read_without_barrier", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
         m.out[m.t] = m.s[4 * (63 - m.t)];
       })},
      {"copy_one_group_too_few", {{1, 1, 1}, 64, 2048}, micro([](const Micro& m) {
         for (int i = 0; i < 2; ++i) {
           copy(m.s + 256 * i, m.in, m.t);
           Device::commit_copies();
         }
         Device::wait_copies<1>();
         m.out[m.t] = m.s[256 + 4 * m.t];
         Device::wait_copies<0>();
       })},
      {"copy_not_committed", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.in, m.t);
         Device::wait_copies<0>();
         m.out[m.t] = m.s[4 * m.t];
         Device::commit_copies();
         Device::wait_copies<0>();
       })},
      {"copy_over_a_stage_in_use", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) m.s[4 * m.t + i] = m.t;
         Device::barrier();
         m.out[m.t] = m.s[4 * (63 - m.t)];
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
       })},
      {"copy_source_changes", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.data, m.t);
         Device::commit_copies();
         if (m.t == 5) m.data[0] = 1;
         Device::wait_copies<0>();
       })},
      {"two_copies_to_one_place", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.in, m.t);
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
       })},
      {"zero_filled_copy_read_early", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         Device::copy_async(m.s + 4 * m.t, m.in, false);
         Device::commit_copies();
         m.out[m.t] = m.s[4 * m.t];
         Device::wait_copies<0>();
       })},
      {"matrix_load_of_unordered_rows", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) m.s[i * 32 + m.t] = m.t;
         std::uint32_t f[4];
         Device::load_matrix(f, m.s + 4 * m.t);
         m.out[m.t] = f[0];
       })},
      {"matrix_load_of_another_warps_rows", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) m.s[4 * m.t + i] = m.t;
         Device::sync_warp();
         std::uint32_t f[4];
         Device::load_matrix(f, m.s + 4 * (m.t ^ 32));
         m.out[m.t] = f[0];
       })},
      {"store_after_matrix_load", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) m.s[4 * m.t + i] = m.t;
         Device::barrier();
         std::uint32_t f[4];
         Device::load_matrix(f, m.s + 4 * (m.t ^ 32));
         m.s[4 * m.t] = f[0];
       })},
      {"never_written", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) { m.out[m.t] = m.s[m.t]; })},
      {"tail_never_written", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t < 60) m.s[m.t] = m.t;
         Device::barrier();
         m.out[m.t] = m.s[63 - m.t];
       })},
      {"last_blocks_contents", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.b == 0) m.s[m.t] = m.t;
         m.out[m.b * 64 + m.t] = m.s[m.t];
       })},
      {"output_read_first", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) { m.out[m.t] += 1; })},
      {"copied_rows_never_written", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         std::uint32_t f[4];
         if (m.t < 31) {
           for (int i = 0; i < 4; ++i) m.s[4 * m.t + i] = m.t;
         }
         Device::sync_warp();
         Device::load_matrix(f, m.s + 4 * m.t);
         m.out[m.t] = f[0];
       })},
      {"named_barrier_of_the_others", {{1, 1, 1}, 128, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier(1 + m.t / 32 % 2, 64);
         m.out[m.t] = m.s[m.t ^ 32];
       })},
      {"scan_in_place", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = 1;
         Device::barrier();
         for (int n = 1; n < 64; n *= 2) {
           if (m.t >= n) m.s[m.t] += m.s[m.t - n];
           Device::barrier();
         }
       })},
      {"transpose", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t % 8 * 8 + m.t / 8] = m.in[m.t];
         Device::sync_warp();
         m.out[m.t] = m.s[m.t];
       })},
      {"broadcast", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) m.s[0] = 5;
         m.out[m.t] = m.s[0];
       })},
      {"halo", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::sync_warp();
         m.out[m.t] = m.s[m.t == 0 ? 0 : m.t - 1];
       })},
      {"overlapping_tiles_of_equal_values", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.out[m.b * 48 + m.t] = m.b * 48 + m.t;
       })},
      {"one_too_many", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.out[m.t] = m.t;
         if (m.t + 1 < 64) m.out[m.t + 1] = m.t + 1;
       })},
      {"wide_stores_overlap", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         Device::store16(m.out + 4 * (m.t / 2), {{1, 2, 3, 4}});
       })},
      {"wide_store_over_a_word", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) Device::store16(m.s, {{1, 2, 3, 4}});
         if (m.t == 40) m.s[3] = 4;
       })},
      {"sum_over_blocks", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) { m.data[0] += m.t == 0 ? 1 : 0; })},
      {"block_overwrites_what_another_reads", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.b == 0)
           m.out[m.t] = m.data[m.t];
         else
           m.data[m.t] = 1;
       })},
      {"half_warps", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         if (m.t < 16) m.s[m.t] = m.t;
         m.out[m.t] = m.t < 16 ? 0 : m.s[m.t - 16];
       })},
      {"index_collides", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) { m.out[m.t % 48] = m.t; })},
      {"queue_between_warps", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t < 32) m.s[m.t] = m.t;
         Device::sync_warp();
         if (m.t >= 32) m.out[m.t] = m.s[m.t - 32];
       })},
      {"warp_barrier_too_early", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         Device::sync_warp();
         m.s[m.t] = m.t;
         m.out[m.t] = m.s[m.t ^ 1];
       })},
      {"barrier_too_early", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         Device::barrier();
         m.s[m.t] = m.t;
         m.out[m.t] = m.s[63 - m.t];
       })},
      {"default_then_value", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) m.s[1] = 0;
         if (m.t == 5) m.s[1] = 5;
         Device::barrier();
         m.out[m.t] = m.s[1];
       })},
      {"an_older_reader_of_another_warp", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier();
         if (m.t == 33) m.out[0] = m.s[0];
         if (m.t < 32) {
           m.out[1 + m.t] = m.s[0];
         }
         Device::sync_warp();
         if (m.t == 0) m.s[0] = 9;
       })},
      {"ticket_before_the_write", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.s[0] == 2) read_all_blocks(m, 3);
       })},
      {"ticket_before_the_blocks_barrier", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.s[0] == 2) read_all_blocks(m, 3);
       })},
      {"relaxed_ticket", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::atomic_add(m.data, 1);
         Device::barrier();
         if (m.s[0] == 2) read_all_blocks(m, 3);
       })},
      {"one_block_takes_its_ticket_relaxed", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = m.b == 1 ? Device::atomic_add(m.data, 1) : Device::take_ticket(m.data, 3);
         Device::barrier();
         if (m.s[0] == 2) read_all_blocks(m, 3);
       })},
      {"ticket_shuffled_to_the_warp", {{3, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::sync_warp();
         const std::uint32_t ticket = Device::shuffle(m.t == 0 ? Device::take_ticket(m.data, 2) : 0, 0);
         if (ticket == 2) m.out[m.t] = m.data[64 + m.t] + m.data[128 + m.t] + m.data[192 + m.t];
       })},
      {"read_before_the_ticket", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         const std::uint32_t others = m.data[64 + (m.b + 1) % 3 * 64 + m.t];
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.s[0] == 2) m.out[m.t] = others;
       })},
      {"first_instead_of_last_ticket", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.s[0] == 0) read_all_blocks(m, 3);
       })},
      {"ticket_before_the_last", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.s[0] == 1) read_all_blocks(m, 3);
       })},
      {"written_after_the_ticket", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.t == 5) m.data[64 + m.b * 64] = 1;
         Device::barrier();
         if (m.s[0] == 2) read_all_blocks(m, 3);
       })},
      {"own_write_after_the_ticket", {{3, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         if (m.t != 0) return;
         const std::uint32_t ticket = Device::take_ticket(m.data, 2);
         m.data[64 + m.b] = 1;
         if (ticket == 2) m.out[0] = m.data[64] + m.data[65] + m.data[66];
       })},
      {"tickets_of_two_counters", {{4, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data + m.b % 2, 1);
         Device::barrier();
         if (m.s[0] == 1) m.out[m.b * 64 + m.t] = m.data[64 + (m.b ^ 1) * 64 + m.t];
       })},
      {"second_ticket_relaxed", {{4, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data + m.b % 2, 1);
         Device::barrier();
         if (m.s[0] != 1) return;
         if (m.t == 0) m.s[1] = Device::atomic_add(m.data + 2, 1);
         Device::barrier();
         if (m.s[1] == 1) read_all_blocks(m, 4);
       })},
      {"last_overwrites_what_one_without_a_ticket_read", {{4, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.out[m.b * 64 + m.t] = m.data[64];
         Device::barrier();
         if (m.t != 0 || m.b == 1) return;
         if (Device::take_ticket(m.data, 2) == 2) m.data[64] = 1;
       })},
      {"counter_reset_for_the_others", {{4, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         if (m.t == 0 && Device::take_ticket(m.data, 3) == 1) m.data[0] = 0;
       })},
  };
}

std::vector<MicroKernel> race_free_kernels() {
  return {
      {"neighbour_read", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier();
         m.out[m.t] = m.s[63 - m.t];
       })},
      {"warp_barrier_across_warps", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::sync_warp();
         m.out[m.t] = m.s[m.t ^ 1];
       })},
      {"write_after_read", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier();
         m.out[m.t] = m.s[63 - m.t];
         Device::barrier();
         m.s[m.t] = 0;
       })},
      {"everyone_writes", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) m.s[0] = m.t;
         m.out[m.t] = m.t;
       })},
      {"blocks_write_one_cell", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) m.out[m.b] = m.b;
       })},
      {"block_reads_the_others_result", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[m.b * 64 + m.t] = m.t;
         m.out[m.b * 64 + m.t] = m.data[m.b * 64 + m.t];
       })},
      {"shuffle_orders_nothing", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::sync_warp();
         m.out[m.t] = Device::shuffle_xor(m.t, 1) + m.s[m.t ^ 1];
       })},
      {"tree_reduction", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier();
         for (int n = 32; n > 0; n /= 2) {
           if (m.t < n) m.s[m.t] += m.s[m.t + n];
           Device::barrier();
         }
         if (m.t == 0) m.out[0] = m.s[0];
       })},
      {"two_stages_one_barrier", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) {
           m.s[i % 2 * 64 + m.t] = i;
           Device::barrier();
           m.out[i * 64 + m.t] = m.s[i % 2 * 64 + 63 - m.t];
         }
       })},
      {"one_stage_one_barrier", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) {
           m.s[m.t] = i;
           Device::barrier();
           m.out[i * 64 + m.t] = m.s[63 - m.t];
           Device::barrier();
         }
       })},
      {"atomic_against_plain_write", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         Device::atomic_add(m.data, 1);
       })},
      {"atomic_then_plain_read", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         Device::atomic_add(m.data, 1);
         Device::barrier();
         m.out[m.t] = m.data[0];
       })},
      {"own_atomic_hides_the_others", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) {
           Device::atomic_add(m.data, 1);
           m.out[0] = m.data[0];
         }
       })},
      {"histogram", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) { Device::atomic_add(m.data + m.t % 8, 1); })},
      {"bytes_of_one_word", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) { m.bytes[m.t] = 1; })},
      {"halves_of_one_word", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         reinterpret_cast<std::uint16_t*>(m.s)[m.t] = 1;
       })},
      {"copy_read_before_wait", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
         m.out[m.t] = m.s[4 * m.t];
       })},
      {"copy_read_without_barrier", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
         Device::barrier();
         m.out[m.t] = m.s[4 * (63 - m.t)];
       })},
      {"copy_one_group_too_few", {{1, 1, 1}, 64, 2048}, micro([](const Micro& m) {
         for (int i = 0; i < 2; ++i) {
           copy(m.s + 256 * i, m.in, m.t);
           Device::commit_copies();
         }
         Device::wait_copies<1>();
         m.out[m.t] = m.s[4 * m.t];
         Device::wait_copies<0>();
         m.out[64 + m.t] = m.s[256 + 4 * m.t];
       })},
      {"copy_not_committed", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
         m.out[m.t] = m.s[4 * m.t];
       })},
      {"copy_over_a_stage_in_use", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) m.s[4 * m.t + i] = m.t;
         Device::barrier();
         m.out[m.t] = m.s[4 * (63 - m.t)];
         Device::barrier();
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
       })},
      {"copy_source_changes", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.data, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
         Device::barrier();
         if (m.t == 5) m.data[0] = 1;
       })},
      {"two_copies_to_one_place", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         Device::wait_copies<0>();
       })},
      {"zero_filled_copy_read_early", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         Device::copy_async(m.s + 4 * m.t, m.in, false);
         Device::commit_copies();
         Device::wait_copies<0>();
         m.out[m.t] = m.s[4 * m.t];
       })},
      {"matrix_load_of_unordered_rows", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) m.s[i * 32 + m.t] = m.t;
         Device::sync_warp();
         std::uint32_t f[4];
         Device::load_matrix(f, m.s + 4 * m.t);
         m.out[m.t] = f[0];
       })},
      {"matrix_load_of_another_warps_rows", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) m.s[4 * m.t + i] = m.t;
         Device::barrier();
         std::uint32_t f[4];
         Device::load_matrix(f, m.s + 4 * (m.t ^ 32));
         m.out[m.t] = f[0];
       })},
      {"store_after_matrix_load", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) m.s[4 * m.t + i] = m.t;
         Device::barrier();
         std::uint32_t f[4];
         Device::load_matrix(f, m.s + 4 * (m.t ^ 32));
         Device::barrier();
         m.s[4 * m.t] = f[0];
       })},
      {"never_written", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = 0;
         m.out[m.t] = m.s[m.t];
       })},
      {"tail_never_written", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t < 60 ? m.t : 0;
         Device::barrier();
         m.out[m.t] = m.s[63 - m.t];
       })},
      {"last_blocks_contents", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         m.out[m.b * 64 + m.t] = m.s[m.t];
       })},
      {"output_read_first", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.out[m.t] = 1;
         m.out[m.t] += 1;
       })},
      {"copied_rows_never_written", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         std::uint32_t f[4];
         for (int i = 0; i < 4; ++i) m.s[4 * m.t + i] = m.t;
         Device::sync_warp();
         Device::load_matrix(f, m.s + 4 * m.t);
         m.out[m.t] = f[0];
       })},
      {"named_barrier_of_the_others", {{1, 1, 1}, 128, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier(1 + m.t / 64, 64);
         m.out[m.t] = m.s[m.t ^ 32];
       })},
      {"scan_in_place", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = 1;
         Device::barrier();
         for (int n = 1; n < 64; n *= 2) {
           const std::uint32_t left = m.t >= n ? m.s[m.t - n] : 0;
           Device::barrier();
           m.s[m.t] += left;
           Device::barrier();
         }
       })},
      {"transpose", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t % 8 * 8 + m.t / 8] = m.in[m.t];
         Device::barrier();
         m.out[m.t] = m.s[m.t];
       })},
      {"broadcast", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) m.s[0] = 5;
         Device::barrier();
         m.out[m.t] = m.s[0];
       })},
      {"halo", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier();
         m.out[m.t] = m.s[m.t == 0 ? 0 : m.t - 1];
       })},
      {"overlapping_tiles_of_equal_values", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.out[m.b * 64 + m.t] = m.b * 64 + m.t;
       })},
      {"one_too_many", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.out[m.t] = m.t;
         m.out[512 + m.t] = m.t + 1;
       })},
      {"wide_stores_overlap", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         Device::store16(m.out + 4 * m.t, {{1, 2, 3, 4}});
       })},
      {"wide_store_over_a_word", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) Device::store16(m.s, {{1, 2, 3, 4}});
         if (m.t == 40) m.s[4] = 4;
       })},
      {"sum_over_blocks", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) Device::atomic_add(m.data, 1);
       })},
      {"block_overwrites_what_another_reads", {{2, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.b == 0)
           m.out[m.t] = m.data[m.t];
         else
           m.data[64 + m.t] = 1;
       })},
      {"half_warps", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         if (m.t < 16) m.s[m.t] = m.t;
         Device::sync_warp();
         m.out[m.t] = m.t < 16 ? 0 : m.s[m.t - 16];
       })},
      {"index_collides", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) { m.out[m.t % 64] = m.t; })},
      {"queue_between_warps", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t < 32) m.s[m.t] = m.t;
         Device::barrier();
         if (m.t >= 32) m.out[m.t] = m.s[m.t - 32];
       })},
      {"warp_barrier_too_early", {{1, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::sync_warp();
         m.out[m.t] = m.s[m.t ^ 1];
       })},
      {"barrier_too_early", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier();
         m.out[m.t] = m.s[63 - m.t];
       })},
      {"default_then_value", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) m.s[1] = 0;
         Device::barrier();
         if (m.t == 5) m.s[1] = 5;
         Device::barrier();
         m.out[m.t] = m.s[1];
       })},
      {"an_older_reader_of_another_warp", {{1, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.s[m.t] = m.t;
         Device::barrier();
         if (m.t < 32) {
           m.out[1 + m.t] = m.s[0];
         }
         Device::sync_warp();
         if (m.t == 0) m.s[0] = 9;
       })},
      {"ticket_before_the_write", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.s[0] == 2) read_all_blocks(m, 3);
       })},
      {"ticket_before_the_blocks_barrier", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.t == 0) {
           m.data[64 + m.b * 64] = m.t;
           m.s[0] = Device::take_ticket(m.data, 2);
         }
         Device::barrier();
         if (m.s[0] == 2) m.out[m.t] = m.data[64] + m.data[128] + m.data[192];
       })},
      {"relaxed_ticket", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::atomic_add(m.data, 1);
         Device::barrier();
         if (m.s[0] == 2) m.out[m.t] = m.data[64 + m.b * 64 + 63 - m.t];
       })},
      {"one_block_takes_its_ticket_relaxed", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = m.b == 1 ? Device::atomic_add(m.data, 1) : Device::take_ticket(m.data, 3);
         Device::barrier();
         if (m.s[0] == 2 && m.b == 2) m.out[m.t] = m.data[64 + m.t] + m.data[192 + m.t];
       })},
      {"ticket_shuffled_to_the_warp", {{3, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::sync_warp();
         const std::uint32_t ticket = Device::shuffle(m.t == 0 ? Device::take_ticket(m.data, 2) : 0, 0);
         Device::sync_warp();
         if (ticket == 2) m.out[m.t] = m.data[64 + m.t] + m.data[128 + m.t] + m.data[192 + m.t];
       })},
      {"read_before_the_ticket", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.s[0] == 2) m.out[m.t] = m.data[64 + (m.b + 1) % 3 * 64 + m.t];
       })},
      {"first_instead_of_last_ticket", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.s[0] == 0) m.out[m.t] = m.data[64 + m.b * 64 + 63 - m.t];
       })},
      {"ticket_before_the_last", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         if (m.b < 2) m.data[64 + m.b * 64 + m.t] = m.t;
         if (m.b == 2) return;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.s[0] == 1) read_all_blocks(m, 2);
       })},
      {"written_after_the_ticket", {{3, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 5) m.data[64 + m.b * 64] = 1;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data, 2);
         Device::barrier();
         if (m.s[0] == 2) read_all_blocks(m, 3);
       })},
      {"own_write_after_the_ticket", {{3, 1, 1}, 32, 1024}, micro([](const Micro& m) {
         if (m.t != 0) return;
         m.data[64 + m.b] = 1;
         const std::uint32_t ticket = Device::take_ticket(m.data, 2);
         if (ticket == 2) m.out[0] = m.data[64] + m.data[65] + m.data[66];
       })},
      {"tickets_of_two_counters", {{4, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data + m.b % 2, 1);
         Device::barrier();
         if (m.s[0] == 1) m.out[m.b * 64 + m.t] = m.data[64 + (m.b ^ 2) * 64 + m.t];
       })},
      {"second_ticket_relaxed", {{4, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         Device::barrier();
         if (m.t == 0) m.s[0] = Device::take_ticket(m.data + m.b % 2, 1);
         Device::barrier();
         if (m.s[0] != 1) return;
         if (m.t == 0) m.s[1] = Device::take_ticket(m.data + 2, 1);
         Device::barrier();
         if (m.s[1] == 1) read_all_blocks(m, 4);
       })},
      {"last_overwrites_what_one_without_a_ticket_read", {{4, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.out[m.b * 64 + m.t] = m.data[64];
         Device::barrier();
         if (m.t != 0) return;
         if (Device::take_ticket(m.data, 3) == 3) m.data[64] = 1;
       })},
      {"counter_reset_for_the_others", {{4, 1, 1}, 64, 1024}, micro([](const Micro& m) {
         m.data[64 + m.b * 64 + m.t] = m.t;
         if (m.t == 0 && Device::take_ticket(m.data, 3) == 3) m.data[0] = 0;
       })},
  };
}

std::vector<MicroKernel> faulty_kernels() {
  return {
      {"read_behind_an_input",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) { m.out[m.t] = m.in[1024 + m.t]; }),
       " bytes behind in,"},
      {"read_before_an_input",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) { m.out[m.t] = m.in[m.t - 1]; }),
       " bytes before in,"},
      {"write_behind_an_output",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) { m.out[961 + m.t] = 0; }),
       "behind out"},
      {"write_to_an_input",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) { const_cast<std::uint32_t*>(m.in)[m.t] = 0; }),
       "which is an input"},
      {"too_little_shared_memory",
       {{1, 1, 1}, 64, 254},
       micro([](const Micro& m) { m.s[m.t] = m.t; }),
       "over the end of shared memory"},
      {"behind_shared_memory",
       {{1, 1, 1}, 64, 128},
       micro([](const Micro& m) { m.s[m.t] = m.t; }),
       "behind shared memory"},
      {"misaligned_wide_load",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) { m.out[m.t] = Device::load16(m.in + m.t).words[0]; }),
       "misaligned"},
      {"misaligned_matrix_row",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) {
         for (int i = 0; i < 4; ++i) m.s[4 * m.t + i] = m.t;
         Device::barrier();
         std::uint32_t f[4];
         Device::load_matrix(f, m.s + m.t);
         m.out[m.t] = f[0];
       }),
       "misaligned"},
      {"barrier_of_half_the_block",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) {
         if (m.t < 32) Device::barrier();
         m.out[m.t] = m.t;
       }),
       "divergent barrier"},
      {"barriers_of_two_branches",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) {
         if (m.t < 32) {
           Device::barrier();
         } else {
           Device::barrier();
         }
         m.out[m.t] = m.t;
       }),
       "divergent barrier"},
      {"lane_ends_before_a_shuffle",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) {
         if (m.t == 40) return;
         m.out[m.t] = Device::shuffle_xor(m.t, 1);
       }),
       "has ended"},
      {"shuffles_of_two_branches",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) {
         m.out[m.t] = m.t % 2 == 0 ? Device::shuffle_xor(m.t, 1) : Device::shuffle_xor(m.t, 2);
       }),
       "divergent warp"},
      {"barrier_against_shuffle",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) {
         if (m.t == 3) Device::barrier();
         m.out[m.t] = Device::shuffle_xor(m.t, 1);
         if (m.t != 3) Device::barrier();
       }),
       "divergent warp"},
      {"copies_never_waited_for",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) {
         copy(m.s, m.in, m.t);
         Device::commit_copies();
         m.out[m.t] = m.t;
       }),
       "never waited for"},
      {"copy_into_global_memory",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) {
         Device::copy_async(m.out + 4 * m.t, m.in + 4 * m.t, true);
         Device::commit_copies();
         Device::wait_copies<0>();
       }),
       "not shared"},
      {"access_below_the_cells",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) { reinterpret_cast<std::uint8_t*>(m.s)[m.t] = 1; }),
       "cells of 2 bytes"},
      {"named_barrier_with_too_few",
       {{1, 1, 1}, 64, 1024},
       micro([](const Micro& m) {
         Device::barrier(1, 96);
         m.out[m.t] = m.t;
       }),
       "never comes"},
  };
}

}  // namespace simt
