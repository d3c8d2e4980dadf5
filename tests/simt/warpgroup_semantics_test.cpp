// torch-free
// The twins of the warpgroup's operations against a second description of the same layouts, CUTLASS's
// (cute/atom/mma_traits_sm90_gmma.hpp: CLayout_64xN, ALayout_64x16, and the canonical layouts at make_gmma_desc).
#include "warpgroup_semantics.hpp"

#include <cstdint>
#include <set>
#include <stdexcept>
#include <vector>

#include "tensor_map.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::Major;
using lisa::cuda::matrix_descriptor;
using lisa::cuda::Swizzle;
using lisa::cuda::TensorTiles;

namespace {

constexpr std::uint32_t start = 4096;
constexpr int units_of(Swizzle swizzle) { return static_cast<int>(swizzle) / 16; }
constexpr Swizzle swizzles[] = {Swizzle::bytes32, Swizzle::bytes64, Swizzle::bytes128};

/// Swizzle<log2 of the units, 4, 3> of a byte's place.
std::uint32_t cute_swizzle(std::uint32_t place, int units) {
  return place ^ ((place & static_cast<std::uint32_t>(units - 1) << 7) >> 3);
}

}  // namespace

TEST_CASE("simt: fragments of a warpgroup's product") {
  for (int t = 0; t < 128; ++t) {
    // CLayout_64xN ((4,8,4),(2,2,N/8)):((128,1,16),(64,8,512)) into m + 64 n
    for (int v = 0; v < 40; ++v) {
      const int at = t % 4 * 128 + t / 4 % 8 + t / 32 * 16 + v % 2 * 64 + v / 2 % 2 * 8 + v / 4 * 512;
      CHECK(sum_place(t, v).row == at % 64);
      CHECK(sum_place(t, v).column == at / 64);
    }
    // ALayout_64x16 ((4,8,4),(2,2,2)):((128,1,16),(64,8,512)) into m + 64 k
    for (int v = 0; v < 8; ++v) {
      const int at = t % 4 * 128 + t / 4 % 8 + t / 32 * 16 + v % 2 * 64 + v / 2 % 2 * 8 + v / 4 * 512;
      CHECK(left_place(t, v).row == at % 64);
      CHECK(left_place(t, v).column == at / 64);
    }
  }
}

TEST_CASE("simt: matrices in shared memory, k contiguous") {
  for (const Swizzle swizzle : swizzles) {
    // ((8,m),(T,2)):((W T,SBO),(1,T)) elements, T = 8
    const int units = units_of(swizzle), stride = 8 * 16 * units + 2048;
    const std::uint64_t descriptor = matrix_descriptor(start, 0, stride, swizzle);
    for (int own = 0; own < 80; ++own)
      for (int k = 0; k < 16; k += 8) {
        const int bytes = own % 8 * units * 16 + own / 8 * stride + k / 8 * 16;
        CHECK(element_place(descriptor, Major::k, own, k) ==
              cute_swizzle(start + static_cast<std::uint32_t>(bytes), units));
      }
  }
  // ((8,m),(T,2)):((T,SBO),(1,LBO))
  const std::uint64_t plain = matrix_descriptor(start, 1024, 128, Swizzle::none);
  for (int own = 0; own < 64; ++own)
    for (int k = 0; k < 16; k += 8)
      CHECK(element_place(plain, Major::k, own, k) ==
            start + static_cast<std::uint32_t>(own % 8 * 16 + own / 8 * 128 + k / 8 * 1024));
}

TEST_CASE("simt: matrices in shared memory, their own dimension contiguous") {
  for (const Swizzle swizzle : swizzles) {
    // ((T,W,m),(8,k)):((1,T,LBO),(W T,SBO))
    const int units = units_of(swizzle), leading = 4096, stride = 8 * 16 * units;
    const std::uint64_t descriptor = matrix_descriptor(start, leading, stride, swizzle);
    for (int own = 0; own < 64; own += 8)
      for (int k = 0; k < 16; ++k) {
        const int bytes = own / 8 % units * 16 + own / (8 * units) * leading + k % 8 * units * 16 + k / 8 * stride;
        CHECK(element_place(descriptor, Major::own, own, k) ==
              cute_swizzle(start + static_cast<std::uint32_t>(bytes), units));
      }
  }
  // ((T,1,m),(8,k)):((1,T,SBO),(T,LBO))
  const std::uint64_t plain = matrix_descriptor(start, 1024, 128, Swizzle::none);
  for (int own = 0; own < 64; own += 8)
    for (int k = 0; k < 16; ++k)
      CHECK(element_place(plain, Major::own, own, k) ==
            start + static_cast<std::uint32_t>(own / 8 * 128 + k % 8 * 16 + k / 8 * 1024));
}

TEST_CASE("simt: a descriptor's fields are where PTX has them") {
  const std::uint64_t descriptor = matrix_descriptor(0x12340, 2048, 256, Swizzle::bytes32);
  CHECK((descriptor & 0x3FFF) == 0x1234);
  CHECK((descriptor >> 16 & 0x3FFF) == 128);
  CHECK((descriptor >> 32 & 0x3FFF) == 16);
  CHECK((descriptor >> 62) == 3);
  CHECK((matrix_descriptor(0, 0, 0, Swizzle::bytes64) >> 62) == 2);
  CHECK((matrix_descriptor(0, 0, 0, Swizzle::bytes128) >> 62) == 1);
  CHECK((matrix_descriptor(0, 0, 0, Swizzle::none) >> 62) == 0);
}

TEST_CASE("simt: a swizzle exchanges the units of each row among themselves") {
  for (const Swizzle swizzle : swizzles) {
    std::set<std::uint32_t> places;
    for (std::uint32_t offset = 0; offset < 2048; offset += 16) {
      const std::uint32_t place = swizzled(offset, swizzle);
      CHECK(place / static_cast<std::uint32_t>(swizzle) == offset / static_cast<std::uint32_t>(swizzle));
      places.insert(place);
    }
    CHECK(places.size() == 128);
  }
  CHECK(swizzled(128, Swizzle::bytes128) == 128 + 16);
  CHECK(swizzled(7 * 128 + 16, Swizzle::bytes128) == 7 * 128 + 6 * 16);
  CHECK(swizzled(128, Swizzle::bytes32) == 128 + 16);
  CHECK(swizzled(256, Swizzle::bytes32) == 256);
}

TEST_CASE("simt: a tile brings its box, and nothing where the tensor has nothing") {
  alignas(16) static const std::uint16_t elements[4 * 32] = {};
  const TensorMap map =
      tensor_map({elements, {24, 2, 2, 1, 1}, {64, 128, 256, 256}, {16, 3, 1, 1, 1}, Swizzle::bytes32});
  std::vector<std::ptrdiff_t> found;
  const auto* const begin = reinterpret_cast<const std::byte*>(elements);
  for_each_piece(map, {{16, -1, 1, 0, 0}}, [&](std::uint32_t offset, const std::byte* source) {
    CHECK(offset == 16 * found.size());
    found.push_back(source == nullptr ? -1 : source - begin);
  });
  CHECK(found == std::vector<std::ptrdiff_t>{-1, -1, 128 + 32, -1, 128 + 64 + 32, -1});
}

TEST_CASE("simt: tensors that the driver would refuse are refused") {
  alignas(16) static const std::uint16_t elements[128] = {};
  const TensorTiles good{elements, {16, 4, 1, 1, 1}, {32, 128, 128, 128}, {16, 4, 1, 1, 1}, Swizzle::bytes32};
  CHECK_NOTHROW((void)tensor_map(good));
  const auto refused = [&](auto change) {
    TensorTiles tiles = good;
    change(tiles);
    CHECK_THROWS_AS((void)tensor_map(tiles), std::invalid_argument);
  };
  refused([](TensorTiles& t) { t.begin = elements + 1; });
  refused([](TensorTiles& t) { t.extents[1] = 0; });
  refused([](TensorTiles& t) { t.strides[0] = 40; });
  refused([](TensorTiles& t) { t.strides[2] = 0; });
  refused([](TensorTiles& t) { t.strides[3] = std::int64_t{1} << 40; });
  refused([](TensorTiles& t) { t.box[1] = 257; });
  refused([](TensorTiles& t) { t.box[0] = 8; });
  refused([](TensorTiles& t) { t.swizzle = Swizzle::bytes64; });
}
