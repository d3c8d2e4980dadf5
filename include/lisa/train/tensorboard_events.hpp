#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/files/append_file.hpp"
#include "lisa/files/crc32c.hpp"
#include "lisa/files/protobuf_writer.hpp"
#include "lisa/image/encode_png.hpp"
#include "lisa/image/image.hpp"

namespace lisa {

namespace detail {

/// A checksum as TFRecord files store it: rotated and shifted, so that the sum of data that holds sums stays sound.
[[nodiscard]] constexpr std::uint32_t masked_crc32c(std::uint32_t sum) { return std::rotr(sum, 15) + 0xA282EAD8; }

/// One record: its length, the length's checksum, the data, the data's checksum; all little endian.
[[nodiscard]] inline std::string tfrecord(std::string_view data) {
  const auto little_endian = [](std::uint64_t value, int count) {
    std::string bytes;
    for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> (8 * i));
    return bytes;
  };
  const std::string length = little_endian(data.size(), 8);
  return length + little_endian(masked_crc32c(crc32c(length)), 4) + std::string(data) +
         little_endian(masked_crc32c(crc32c(data)), 4);
}

}  // namespace detail

/// Writes a TensorBoard event file: TFRecord frames around `Event` messages (tensorflow/core/util/event.proto and
/// framework/summary.proto). Every event is a record of its own and complete on return.
class TensorBoardEvents {
 public:
  /// Makes `events.out.tfevents.SECONDS.SUFFIX` in `folder`; TensorBoard reads all such files of a folder together.
  /// @param seconds wall-clock time, as seconds since 1970, that the file's name and first event carry
  /// Throws IoError.
  TensorBoardEvents(const std::filesystem::path& folder, double seconds, const std::string& suffix)
      : file_(folder / ("events.out.tfevents." + std::to_string(static_cast<std::int64_t>(seconds)) + "." + suffix)) {
    add(ProtobufWriter().fixed64(wall_time, seconds).bytes(file_version, "brain.Event:2"));
  }

  /// A number of a curve, such as "train/loss". Throws IoError.
  void scalar(const std::string& tag, std::int64_t step, double seconds, double value) {
    summary(step, seconds, ProtobufWriter().bytes(value_tag, tag).fixed32(simple_value, static_cast<float>(value)));
  }

  /// A picture. Throws IoError; InputError for an invalid image.
  void image(const std::string& tag, std::int64_t step, double seconds, const Image& picture) {
    const std::vector<std::uint8_t> png = encode_png(picture);
    const std::string_view content(reinterpret_cast<const char*>(png.data()), png.size());
    const auto encoded = ProtobufWriter()
                             .varint(1, static_cast<std::uint64_t>(picture.height))
                             .varint(2, static_cast<std::uint64_t>(picture.width))
                             .varint(3, 3)  // channels: RGB
                             .bytes(4, content);
    summary(step, seconds, ProtobufWriter().bytes(value_tag, tag).bytes(value_image, encoded.message()));
  }

  [[nodiscard]] const std::string& file() const noexcept { return file_.name(); }

 private:
  // Field numbers of Event and Summary.Value.
  static constexpr int wall_time = 1, event_step = 2, file_version = 3, event_summary = 5;
  static constexpr int value_tag = 1, simple_value = 2, value_image = 4;

  void summary(std::int64_t step, double seconds, const ProtobufWriter& value) {
    add(ProtobufWriter()
            .fixed64(wall_time, seconds)
            .varint(event_step, static_cast<std::uint64_t>(step))
            .bytes(event_summary, ProtobufWriter().bytes(1, value.message()).message()));
  }

  void add(const ProtobufWriter& event) { file_.append(detail::tfrecord(event.message())); }

  AppendFile file_;
};

}  // namespace lisa
