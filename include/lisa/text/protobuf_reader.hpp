#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lisa/base/error.hpp"

namespace lisa {

/// One field of a protobuf message. Which of `number_value` and `bytes` holds the value depends on `wire`.
struct ProtobufField {
  enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

  std::uint32_t number = 0;  ///< field number of the schema, 1 .. 2^29 - 1
  Wire wire = Wire::varint;
  std::uint64_t number_value = 0;  ///< value of a varint, fixed32 or fixed64 field
  std::string_view bytes;          ///< value of a length-delimited field: string, bytes or message
};

/// Walks the fields of one protobuf message (protobuf.dev, "Encoding") without copying. Refuses truncated input,
/// varints of more than ten bytes, lengths beyond the end, field number 0 and the group wire types, which no current
/// schema uses. Nested messages are read by a reader over `ProtobufField::bytes`, so nesting costs no recursion here.
class ProtobufReader {
 public:
  /// @param message bytes of the message; must outlive the reader
  /// @param file    name for error messages
  /// @param origin  offset of `message` in the file, for error messages
  ProtobufReader(std::string_view message, std::string file, std::size_t origin = 0)
      : message_(message), file_(std::move(file)), origin_(origin) {}

  /// The next field, or nothing at the end of the message. @throws FormatError on malformed input
  [[nodiscard]] std::optional<ProtobufField> next() {
    if (at_ == message_.size()) return std::nullopt;
    start_ = at_;
    const std::uint64_t key = varint();
    ProtobufField field;
    if (key >> 3 == 0) fail("found field number 0, expected 1 or more");
    if (key >> 3 >= (1U << 29)) fail("found field number " + std::to_string(key >> 3) + ", expected less than 2^29");
    field.number = static_cast<std::uint32_t>(key >> 3);
    switch (key & 7) {
      case 0:
        field.number_value = varint();
        break;
      case 1:
        field.number_value = little_endian(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.number_value = little_endian(4);
        break;
      default:
        fail("found wire type " + std::to_string(key & 7) + ", expected 0, 1, 2 or 5");
    }
    field.wire = static_cast<ProtobufField::Wire>(key & 7);
    return field;
  }

  /// Offset in the file of the field that `next` returned last.
  [[nodiscard]] std::size_t field_offset() const noexcept { return origin_ + start_; }
  /// Offset in the file just behind the field that `next` returned last.
  [[nodiscard]] std::size_t offset() const noexcept { return origin_ + at_; }

 private:
  [[noreturn]] void fail(std::string message) const {
    throw FormatError(file_, "byte " + std::to_string(field_offset()), std::move(message));
  }

  std::string_view take(std::uint64_t count) {
    const std::size_t left = message_.size() - at_;
    if (count > left) fail(found_expected("a length of " + std::to_string(count), "at most " + std::to_string(left)));
    const std::string_view part = message_.substr(at_, count);
    at_ += count;
    return part;
  }

  std::uint64_t little_endian(std::size_t count) {
    const std::string_view part = take(count);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value |= std::uint64_t{static_cast<unsigned char>(part[i])} << (8 * i);
    return value;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (at_ == message_.size()) fail("found the end of the data inside a varint");
      const auto byte = static_cast<unsigned char>(message_[at_++]);
      if (shift == 63 && byte > 1) break;  // more than 64 bits
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    fail("found a varint of more than 64 bits");
  }

  std::string_view message_;
  std::string file_;
  std::size_t origin_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;
};

}  // namespace lisa
