#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace lisa::detail {

/// Little-endian bytes, appended.
class ByteString {
 public:
  template <class T>
  ByteString& put(T value) {
    static_assert(std::endian::native == std::endian::little);
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    text_.append(bytes, sizeof value);
    return *this;
  }
  ByteString& u8(std::uint64_t value) { return put(static_cast<std::uint8_t>(value)); }
  ByteString& u16(std::uint64_t value) { return put(static_cast<std::uint16_t>(value)); }
  ByteString& u32(std::uint64_t value) { return put(static_cast<std::uint32_t>(value)); }
  ByteString& u64(std::uint64_t value) { return put(value); }
  ByteString& text(std::string_view value) {
    text_ += value;
    return *this;
  }
  [[nodiscard]] const std::string& str() const { return text_; }

 private:
  std::string text_;
};

}  // namespace lisa::detail
