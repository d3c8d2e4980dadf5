#include "warpgroup_products.hpp"

#include <algorithm>
#include <cstring>

#include "launch_state.hpp"
#include "source_line.hpp"
#include "warpgroup_semantics.hpp"

namespace simt {

using lisa::cuda::Major;

namespace {

constexpr std::size_t lanes = warpgroup_lanes;
constexpr std::size_t piece_bytes = 16;
constexpr int piece_elements = 8;
constexpr std::byte poison{0xFF};

/// Of a lane.
std::size_t sums_bytes(int columns) { return static_cast<std::size_t>(columns) / 2 * sizeof(float); }

}  // namespace

std::span<Thread> WarpgroupProducts::own_threads() {
  const std::span<Thread> all = launch_.threads();
  const std::size_t first = static_cast<std::size_t>(launch_.current().index) / lanes * lanes;
  if (first + lanes > all.size()) launch_.stop("a product takes a whole warpgroup of 128 threads");
  return all.subspan(first, lanes);
}

WarpgroupProducts::Warpgroup& WarpgroupProducts::own_group() {
  return groups_[static_cast<std::size_t>(launch_.current().index) / lanes];
}

void WarpgroupProducts::fence(std::span<const Registers> registers, Site site) {
  const std::span<Thread> threads = own_threads();
  launch_.current().registers = registers;
  if (!launch_.gather(Collective::fence_products, site, threads)) return;
  Warpgroup& group = own_group();
  for (std::size_t lane = 0; lane < lanes; ++lane)
    for (const Registers& r : threads[lane].registers) {
      if (in_flight(group, lane, r.begin, r.bytes)) launch_.stop("fence of registers that a product is using");
      std::erase_if(group.fenced[lane], [&](const Kept& kept) { return kept.begin == r.begin; });
      group.fenced[lane].push_back({r.begin, {r.begin, r.begin + r.bytes}});
    }
  launch_.release(threads);
}

bool WarpgroupProducts::in_flight(const Warpgroup& group, std::size_t lane, const std::byte* begin,
                                  std::size_t bytes) const {
  const auto overlaps = [&](const void* other, std::size_t size) {
    const auto* const start = static_cast<const std::byte*>(other);
    return start < begin + bytes && begin < start + size;
  };
  return std::any_of(group.sums.begin(), group.sums.end(),
                     [&](const Sums& s) { return overlaps(s.lanes[lane], sums_bytes(s.columns)); }) ||
         std::any_of(group.left[lane].begin(), group.left[lane].end(),
                     [&](const Kept& kept) { return overlaps(kept.begin, kept.contents.size()); });
}

/// Registers must be covered by a fence, and unchanged since.
void WarpgroupProducts::require_fence(const Warpgroup& group, std::size_t lane, const void* begin, std::size_t bytes) {
  const auto* const start = static_cast<const std::byte*>(begin);
  for (const Kept& kept : group.fenced[lane]) {
    if (start < kept.begin || start + bytes > kept.begin + kept.contents.size()) continue;
    if (std::memcmp(start, kept.contents.data() + (start - kept.begin), bytes) != 0)
      launch_.stop("registers were written between the fence and the product that uses them");
    return;
  }
  launch_.stop("product with registers that no fence covers");
}

void WarpgroupProducts::start(const Product& product, Site site, const void* pc) {
  const std::span<Thread> threads = own_threads();
  own_group().arriving[static_cast<std::size_t>(launch_.current().index) % lanes] = product;
  if (!launch_.gather(Collective::start_product, site, threads)) return;
  begin_product(own_group(), threads, pc);
  launch_.release(threads);
}

/// The sums of the arriving product: those that one on its way has, or the registers' contents.
std::size_t WarpgroupProducts::take_sums(Warpgroup& group) {
  const int columns = group.arriving[0].columns;
  const std::size_t bytes = sums_bytes(columns);
  for (std::size_t i = 0; i < group.sums.size(); ++i) {
    const Sums& sums = group.sums[i];
    if (sums.lanes[0] != group.arriving[0].sum) continue;
    if (sums.columns != columns) launch_.stop("products of different shapes add to the same registers");
    if (sums.complete) launch_.stop("product with registers that no wait has handed back");
    return i;
  }
  Sums sums{{}, std::vector<float>(static_cast<std::size_t>(product_rows * columns)), columns, group.group, false};
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    float* const registers = group.arriving[lane].sum;
    require_fence(group, lane, registers, bytes);
    for (int i = 0; i < columns / 2; ++i) {
      const FragmentPlace place = sum_place(static_cast<int>(lane), i);
      sums.values[static_cast<std::size_t>(place.row * columns + place.column)] = registers[i];
    }
    std::memset(static_cast<void*>(registers), static_cast<int>(poison), bytes);
    sums.lanes.push_back(registers);
  }
  group.sums.push_back(std::move(sums));
  return group.sums.size() - 1;
}

/// The arriving product's left operand [64, 16] from registers, which stay in use.
std::vector<float> WarpgroupProducts::take_left(Warpgroup& group) {
  std::vector<float> left(static_cast<std::size_t>(product_rows * product_depth));
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    const std::uint32_t* const registers = group.arriving[lane].left;
    const std::size_t bytes = 4 * sizeof *registers;
    require_fence(group, lane, registers, bytes);
    for (int i = 0; i < 8; ++i) {
      const FragmentPlace place = left_place(static_cast<int>(lane), i);
      left[static_cast<std::size_t>(place.row * product_depth + place.column)] =
          group.arriving[0].to_float(static_cast<std::uint16_t>(registers[i / 2] >> (16 * (i % 2))));
    }
    auto* const begin = reinterpret_cast<std::byte*>(const_cast<std::uint32_t*>(registers));
    group.left[lane].push_back({begin, {begin, begin + bytes}});
  }
  return left;
}

void WarpgroupProducts::begin_product(Warpgroup& group, std::span<Thread> threads, const void* pc) {
  const Product& first = group.arriving[0];
  Started started{group.arriving, {}, 0, group.group, ++group.clock, false, false};
  if (first.left != nullptr) started.left = take_left(group);
  started.sums = take_sums(group);
  group.sums[started.sums].group = group.group;
  record_reads(first, threads, started.clock, pc);
  if (!launch_.reads_late()) compute(group, started);
  group.products.push_back(std::move(started));
}

/// The products' agent reads both operands until a wait covers them. All lanes must know what was written there.
void WarpgroupProducts::record_reads(const Product& product, std::span<Thread> threads, std::uint32_t clock,
                                     const void* pc) {
  KnownClocks accesses = threads[0].known, writes = launch_.fenced(threads[0]);
  for (const Thread& thread : threads.subspan(1)) {
    const KnownClocks fenced = launch_.fenced(thread);
    for (std::size_t i = 0; i < accesses.size(); ++i) {
      accesses[i] = std::min(accesses[i], thread.known[i]);
      writes[i] = std::min(writes[i], fenced[i]);
    }
  }
  const std::size_t number = static_cast<std::size_t>(threads[0].index) / lanes;
  const Actor actor = launch_.agent(TransactionBarriers::most + number, clock, pc);
  const auto read = [&](std::uint64_t descriptor, Major major, int own) {
    const int own_step = major == Major::own ? piece_elements : 1, k_step = major == Major::k ? piece_elements : 1;
    for (int i = 0; i < own; i += own_step)
      for (int k = 0; k < product_depth; k += k_step)
        launch_.access(Access::read, launch_.shared() + element_place(descriptor, major, i, k), piece_bytes, pc, actor,
                       {accesses, writes});
  };
  if (product.left == nullptr) read(product.left_matrix, Major::k, product_rows);
  read(product.right_matrix, product.right_major, product.columns);
}

/// [own, 16], or [16, own] of one whose own dimension is contiguous
std::vector<float> WarpgroupProducts::matrix(std::uint64_t descriptor, Major major, int own, const Product& product) {
  std::vector<float> values(static_cast<std::size_t>(own * product_depth));
  const int rows = major == Major::k ? own : product_depth, columns = major == Major::k ? product_depth : own;
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; column += piece_elements) {
      std::uint16_t elements[piece_elements];
      const std::uint32_t place = major == Major::k ? element_place(descriptor, major, row, column)
                                                    : element_place(descriptor, major, column, row);
      std::memcpy(elements, launch_.shared() + place, sizeof elements);
      for (int i = 0; i < piece_elements; ++i)
        values[static_cast<std::size_t>(row * columns + column + i)] = product.to_float(elements[i]);
    }
  return values;
}

void WarpgroupProducts::compute(Warpgroup& group, Started& started) {
  const Product& product = started.lanes[0];
  const int columns = product.columns;
  if (product.left == nullptr) started.left = matrix(product.left_matrix, Major::k, product_rows, product);
  std::vector<float> right = matrix(product.right_matrix, product.right_major, columns, product);
  if (product.right_major == Major::k) {
    std::vector<float> turned(right.size());
    for (int column = 0; column < columns; ++column)
      for (int k = 0; k < product_depth; ++k)
        turned[static_cast<std::size_t>(k * columns + column)] =
            right[static_cast<std::size_t>(column * product_depth + k)];
    right = std::move(turned);
  }
  multiply_accumulate(group.sums[started.sums].values.data(), started.left.data(), right.data(), columns);
  started.computed = true;
}

void WarpgroupProducts::commit(Site site) {
  const std::span<Thread> threads = own_threads();
  if (!launch_.gather(Collective::commit_products, site, threads)) return;
  ++own_group().group;
  launch_.release(threads);
}

void WarpgroupProducts::wait(int pending, std::span<const Registers> registers, Site site) {
  const std::span<Thread> threads = own_threads();
  launch_.current().registers = registers;
  if (!launch_.gather(Collective::wait_products, site, threads)) return;
  Warpgroup& group = own_group();
  const int complete = group.group - pending;
  const std::size_t agent =
      launch_.agent(TransactionBarriers::most + static_cast<std::size_t>(threads[0].index) / lanes, 0, nullptr).thread;
  for (Started& product : group.products) {
    if (product.group >= complete) continue;
    if (!product.computed) compute(group, product);
    product.over = true;
    for (Thread& thread : threads) thread.known[agent] = std::max(thread.known[agent], product.clock);
  }
  for (Sums& sums : group.sums) sums.complete = sums.group < complete;
  check_untouched(group);
  give_up_left(group);
  std::vector<bool> named(group.sums.size());
  for (std::size_t lane = 0; lane < lanes; ++lane)
    for (const Registers& r : threads[lane].registers) hand_back(group, lane, r, named);
  forget(group, named);
  launch_.release(threads);
}

/// Registers that products use must be as the products left them: sums poisoned, left operands unchanged.
void WarpgroupProducts::check_untouched(const Warpgroup& group) {
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    for (const Kept& kept : group.left[lane])
      if (std::memcmp(kept.begin, kept.contents.data(), kept.contents.size()) != 0)
        launch_.stop("the left operand of a product on its way was written");
    for (const Sums& sums : group.sums) {
      const auto* const bytes = reinterpret_cast<const std::byte*>(sums.lanes[lane]);
      if (!std::all_of(bytes, bytes + sums_bytes(sums.columns), [](std::byte b) { return b == poison; }))
        launch_.stop("the sums of a product on its way were written");
    }
  }
}

/// Left operands of products that are over are the lanes' again.
void WarpgroupProducts::give_up_left(Warpgroup& group) {
  for (std::size_t lane = 0; lane < lanes; ++lane)
    std::erase_if(group.left[lane], [&](const Kept& kept) {
      return std::none_of(group.products.begin(), group.products.end(), [&](const Started& product) {
        return !product.over && reinterpret_cast<const std::byte*>(product.lanes[lane].left) == kept.begin;
      });
    });
}

/// Gives a lane the registers that it named in its wait, which no product may be using any more.
void WarpgroupProducts::hand_back(Warpgroup& group, std::size_t lane, const Registers& r, std::vector<bool>& named) {
  if (std::any_of(group.left[lane].begin(), group.left[lane].end(),
                  [&](const Kept& kept) { return kept.begin >= r.begin && kept.begin < r.begin + r.bytes; }))
    launch_.stop("a wait hands back registers that a product is still using");
  for (std::size_t i = 0; i < group.sums.size(); ++i) {
    const Sums& sums = group.sums[i];
    if (reinterpret_cast<std::byte*>(sums.lanes[lane]) != r.begin) continue;
    if (!sums.complete) launch_.stop("a wait hands back registers that a product is still using");
    for (int k = 0; k < sums.columns / 2; ++k) {
      const FragmentPlace place = sum_place(static_cast<int>(lane), k);
      sums.lanes[lane][k] = sums.values[static_cast<std::size_t>(place.row * sums.columns + place.column)];
    }
    named[i] = true;
  }
  std::erase_if(group.fenced[lane], [&](const Kept& kept) { return kept.begin == r.begin; });
}

/// Drops sums that were handed back, and their products; the other products find their sums at new places.
void WarpgroupProducts::forget(Warpgroup& group, const std::vector<bool>& named) {
  std::vector<Sums> sums;
  std::vector<std::size_t> moved(group.sums.size());
  for (std::size_t i = 0; i < group.sums.size(); ++i) {
    moved[i] = sums.size();
    if (!named[i]) sums.push_back(std::move(group.sums[i]));
  }
  std::erase_if(group.products, [&](const Started& product) { return product.over && named[product.sums]; });
  for (Started& product : group.products) product.sums = moved[product.sums];
  group.sums = std::move(sums);
}

bool WarpgroupProducts::products_left() const {
  return std::any_of(groups_.begin(), groups_.end(), [](const Warpgroup& group) { return !group.sums.empty(); });
}

}  // namespace simt
