#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace lisa {

namespace detail {

/// Remainders of every byte followed by 0 to 7 zero bytes, for the polynomial of CRC-32C (Castagnoli), reflected.
[[nodiscard]] constexpr std::array<std::array<std::uint32_t, 256>, 8> crc32c_tables() {
  constexpr std::uint32_t polynomial = 0x82F63B78;
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) * polynomial);
    tables[0][byte] = remainder;
  }
  for (std::size_t zeros = 1; zeros < 8; ++zeros)
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[zeros - 1][byte];
      tables[zeros][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  return tables;
}

inline constexpr auto crc32c_table = crc32c_tables();

}  // namespace detail

/// CRC-32C (RFC 3720, B.4) of bytes; pass the sum of the bytes before them to go on. Eight bytes at a time (Kounavis
/// and Berry 2005).
[[nodiscard]] inline std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0) {
  const auto& table = detail::crc32c_table;
  std::uint32_t sum = ~before;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes.data() + i, 8);
    eight ^= sum;
    sum = 0;
    for (std::size_t k = 0; k < 8; ++k) sum ^= table[7 - k][(eight >> (8 * k)) & 0xFF];
  }
  for (; i < bytes.size(); ++i) sum = (sum >> 8) ^ table[0][(sum ^ static_cast<std::uint32_t>(bytes[i])) & 0xFF];
  return ~sum;
}

[[nodiscard]] inline std::uint32_t crc32c(std::string_view text, std::uint32_t before = 0) {
  return crc32c(std::as_bytes(std::span(text.data(), text.size())), before);
}

}  // namespace lisa
