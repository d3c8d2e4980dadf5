#pragma once

#include <cstdint>
#include <string_view>

namespace lisa {

/// A number for a name that depends on nothing but the name (FNV-1a, Fowler, Noll, Vo 1991): the standard library's
/// hash may differ between platforms.
[[nodiscard]] constexpr std::uint64_t name_hash(std::string_view name) {
  std::uint64_t value = 0xcbf29ce484222325U;
  for (const char c : name) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return value;
}

}  // namespace lisa
