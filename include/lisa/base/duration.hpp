#pragma once

#include <array>
#include <cmath>
#include <cstdio>
#include <string>

namespace lisa {

/// Seconds as people say them: "210 ms", "1.3 s", "2 min 05 s", "3 h 40 min".
[[nodiscard]] inline std::string duration(double seconds) {
  const auto format = [](const char* pattern, double value) {
    std::array<char, 64> buffer{};
    std::snprintf(buffer.data(), buffer.size(), pattern, value);
    return std::string(buffer.data());
  };
  if (seconds < 1) return format("%.0f ms", seconds * 1e3);
  if (seconds < 60) return format("%.1f s", seconds);
  const double whole = std::round(seconds);
  if (whole < 3600) return format("%.0f min ", std::floor(whole / 60)) + format("%02.0f s", std::fmod(whole, 60));
  return format("%.0f h ", std::floor(whole / 3600)) + format("%02.0f min", std::floor(std::fmod(whole, 3600) / 60));
}

}  // namespace lisa
