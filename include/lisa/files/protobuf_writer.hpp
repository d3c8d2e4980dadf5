#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace lisa {

/// Builds a protocol buffer message field by field, in protobuf's wire format.
class ProtobufWriter {
 public:
  ProtobufWriter& varint(int field, std::uint64_t value) {
    key(field, 0);
    append_varint(value);
    return *this;
  }
  ProtobufWriter& fixed64(int field, double value) {
    key(field, 1);
    append_bytes(std::bit_cast<std::uint64_t>(value), 8);
    return *this;
  }
  ProtobufWriter& fixed32(int field, float value) {
    key(field, 5);
    append_bytes(std::bit_cast<std::uint32_t>(value), 4);
    return *this;
  }
  /// Text, bytes or a message of its own.
  ProtobufWriter& bytes(int field, std::string_view value) {
    key(field, 2);
    append_varint(value.size());
    message_ += value;
    return *this;
  }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }

 private:
  void key(int field, int wire_type) {
    append_varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire_type));
  }
  void append_varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) message_ += static_cast<char>(value | 0x80);
    message_ += static_cast<char>(value);
  }
  void append_bytes(std::uint64_t value, int count) {
    for (int i = 0; i < count; ++i) message_ += static_cast<char>(value >> (8 * i));
  }

  std::string message_;
};

}  // namespace lisa
