#pragma once

#include <libdeflate.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

namespace lisa::test {

/// One record of a zip archive, with every header field open to lies.
struct ZipRecord {
  std::string name;
  std::string data;
  std::string local_name = name;  ///< name in the local header
  std::uint16_t flags = 0;
  std::uint16_t local_flags = flags;
  std::uint16_t method = 0;
  std::uint16_t local_method = method;
  std::optional<std::uint32_t> crc{};        ///< of the central directory; the true one unless given
  std::optional<std::uint32_t> local_crc{};  ///< the central directory's unless given
  std::optional<std::uint32_t> size{};       ///< uncompressed, central directory
  std::optional<std::uint32_t> local_size{};
  std::optional<std::uint32_t> offset{};  ///< of the local header
  std::string central_extra{};
};

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

/// The parts of an archive's end that tests bend.
struct ZipEnd {
  std::string comment{};
  std::optional<std::uint16_t> records{};
  std::optional<std::uint32_t> directory_size{};
  std::optional<std::uint32_t> directory_offset{};
  std::string before_end{};  ///< bytes between the central directory and the end record
};

/// An archive of these records, written independently of the library's own writer.
[[nodiscard]] inline std::string zip_of(const std::vector<ZipRecord>& records, const ZipEnd& end = {}) {
  std::string out;
  std::string directory;
  for (const ZipRecord& record : records) {
    const auto offset = static_cast<std::uint32_t>(out.size());
    const std::uint32_t crc = record.crc.value_or(libdeflate_crc32(0, record.data.data(), record.data.size()));
    const auto stored = static_cast<std::uint32_t>(record.data.size());
    const std::uint32_t size = record.size.value_or(stored);
    out += "PK\x03\x04";
    put<std::uint16_t>(out, 20);
    put(out, record.local_flags);
    put(out, record.local_method);
    put<std::uint32_t>(out, 0);
    put(out, record.local_crc.value_or(crc));
    put(out, stored);
    put(out, record.local_size.value_or(size));
    put(out, static_cast<std::uint16_t>(record.local_name.size()));
    put<std::uint16_t>(out, 0);
    out += record.local_name + record.data;

    directory += "PK\x01\x02";
    put<std::uint16_t>(directory, 20);
    put<std::uint16_t>(directory, 20);
    put(directory, record.flags);
    put(directory, record.method);
    put<std::uint32_t>(directory, 0);
    put(directory, crc);
    put(directory, record.size && *record.size == 0xFFFFFFFF ? *record.size : stored);
    put(directory, size);
    put(directory, static_cast<std::uint16_t>(record.name.size()));
    put(directory, static_cast<std::uint16_t>(record.central_extra.size()));
    put<std::uint16_t>(directory, 0);
    put<std::uint32_t>(directory, 0);
    put<std::uint32_t>(directory, 0);
    put(directory, record.offset.value_or(offset));
    directory += record.name + record.central_extra;
  }
  const auto begin = static_cast<std::uint32_t>(out.size());
  out += directory + end.before_end + "PK\x05\x06";
  put<std::uint32_t>(out, 0);
  put(out, end.records.value_or(static_cast<std::uint16_t>(records.size())));
  put(out, end.records.value_or(static_cast<std::uint16_t>(records.size())));
  put(out, end.directory_size.value_or(static_cast<std::uint32_t>(directory.size())));
  put(out, end.directory_offset.value_or(begin));
  put(out, static_cast<std::uint16_t>(end.comment.size()));
  return out + end.comment;
}

}  // namespace lisa::test
