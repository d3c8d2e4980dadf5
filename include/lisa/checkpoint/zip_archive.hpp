#pragma once

#include <libdeflate.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// A record of a zip archive that is stored without compression: bytes [begin, begin + size) of the archive.
struct ZipMember {
  std::string name;
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  std::uint32_t crc = 0;
};

/// Most records an archive may hold.
inline constexpr std::uint64_t max_zip_members = 1'000'000;

namespace detail {

inline constexpr std::uint32_t zip_local_signature = 0x04034b50;
inline constexpr std::uint32_t zip_central_signature = 0x02014b50;
inline constexpr std::uint32_t zip_end_signature = 0x06054b50;
inline constexpr std::uint32_t zip64_end_signature = 0x06064b50;
inline constexpr std::uint32_t zip64_locator_signature = 0x07064b50;
inline constexpr std::uint32_t zip_descriptor_signature = 0x08074b50;
inline constexpr std::uint64_t zip_end_size = 22;
inline constexpr std::uint64_t zip64_end_size = 56;
inline constexpr std::uint64_t zip64_locator_size = 20;
inline constexpr std::uint64_t zip_local_size = 30;
inline constexpr std::uint64_t zip_central_size = 46;
inline constexpr std::uint32_t zip_saturated = 0xFFFFFFFF;

/// Little-endian integers of an archive; every access is checked against its end.
class ZipBytes {
 public:
  ZipBytes(std::string_view content, const std::string& file) : content_(content), file_(file) {
    static_assert(std::endian::native == std::endian::little);
  }

  template <class T>
  [[nodiscard]] T load(std::uint64_t at) const {
    if (at > content_.size() || content_.size() - at < sizeof(T))
      throw FormatError(file_, "byte " + std::to_string(at), "found the end of the file inside a zip record");
    T value;
    std::memcpy(&value, content_.data() + at, sizeof value);
    return value;
  }
  [[nodiscard]] std::uint16_t u16(std::uint64_t at) const { return load<std::uint16_t>(at); }
  [[nodiscard]] std::uint32_t u32(std::uint64_t at) const { return load<std::uint32_t>(at); }
  [[nodiscard]] std::uint64_t u64(std::uint64_t at) const { return load<std::uint64_t>(at); }
  [[nodiscard]] std::string_view text(std::uint64_t at, std::uint64_t length) const {
    if (at > content_.size() || content_.size() - at < length)
      throw FormatError(file_, "byte " + std::to_string(at), "found the end of the file inside a zip record");
    return content_.substr(at, length);
  }
  [[nodiscard]] std::uint64_t size() const { return content_.size(); }
  [[nodiscard]] const std::string& file() const { return file_; }

 private:
  std::string_view content_;
  const std::string& file_;
};

/// Where the central directory lies and how many records it lists.
struct ZipDirectory {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  std::uint64_t members = 0;
};

[[noreturn]] inline void refuse_zip_end(const ZipBytes& zip) {
  // An end record further up means a comment, the usual way to hide a second archive.
  const std::uint64_t first = zip.size() > zip_end_size + 0xFFFF ? zip.size() - zip_end_size - 0xFFFF : 0;
  for (std::uint64_t at = zip.size() - zip_end_size; at-- > first;)
    if (zip.u32(at) == zip_end_signature)
      throw FormatError(
          zip.file(), "byte " + std::to_string(at),
          found_expected("a zip end record followed by " + std::to_string(zip.size() - at - zip_end_size) + " bytes",
                         "the end record at the end of the file"));
  throw FormatError(zip.file(), "byte " + std::to_string(zip.size() - zip_end_size),
                    "found no zip end record, expected one at the end of the file (is the file truncated?)");
}

[[nodiscard]] inline ZipDirectory locate_zip_directory(const ZipBytes& zip) {
  const auto refuse = [&](std::uint64_t at, const std::string& found, const std::string& expected) {
    throw FormatError(zip.file(), "byte " + std::to_string(at), found_expected(found, expected));
  };
  if (zip.size() < zip_end_size)
    refuse(0, std::to_string(zip.size()) + " bytes", "a zip archive of at least " + std::to_string(zip_end_size));
  const std::uint64_t end = zip.size() - zip_end_size;
  if (zip.u32(end) != zip_end_signature || zip.u16(end + 20) != 0) refuse_zip_end(zip);
  if (zip.u16(end + 4) != 0 || zip.u16(end + 6) != 0) refuse(end, "an archive of several disks", "one");

  ZipDirectory directory{.begin = zip.u32(end + 16), .size = zip.u32(end + 12), .members = zip.u16(end + 10)};
  std::uint64_t directory_end = end;
  if (end >= zip64_locator_size && zip.u32(end - zip64_locator_size) == zip64_locator_signature) {
    const std::uint64_t locator = end - zip64_locator_size;
    const std::uint64_t record = zip.u64(locator + 8);
    if (locator < zip64_end_size || record != locator - zip64_end_size || zip.u32(record) != zip64_end_signature ||
        zip.u64(record + 4) != zip64_end_size - 12)
      refuse(locator, "a zip64 locator of byte " + std::to_string(record), "a zip64 end record right before it");
    if (zip.u64(record + 24) != zip.u64(record + 32)) refuse(record, "an archive of several disks", "one");
    const ZipDirectory wide{
        .begin = zip.u64(record + 48), .size = zip.u64(record + 40), .members = zip.u64(record + 32)};
    const auto agree = [](std::uint64_t narrow, std::uint64_t value, std::uint64_t saturated) {
      return narrow == saturated || narrow == value;
    };
    if (!agree(directory.begin, wide.begin, zip_saturated) || !agree(directory.size, wide.size, zip_saturated) ||
        !agree(directory.members, wide.members, 0xFFFF))
      refuse(record, "a zip64 end record that differs from the end record", "both to agree");
    directory = wide;
    directory_end = record;
  } else if (zip.u16(end + 8) != zip.u16(end + 10)) {
    refuse(end, "an archive of several disks", "one");
  }
  if (directory.begin > directory_end || directory.size != directory_end - directory.begin)
    refuse(end,
           "a central directory of " + std::to_string(directory.size) + " bytes at byte " +
               std::to_string(directory.begin),
           "one that ends at byte " + std::to_string(directory_end) + ", where the end record begins");
  if (directory.members > directory.size / zip_central_size)
    refuse(end, std::to_string(directory.members) + " records",
           "at most " + std::to_string(directory.size / zip_central_size) + " for the size of the directory");
  if (directory.members > max_zip_members)
    throw LimitError(
        zip.file(), "byte " + std::to_string(end),
        found_expected(std::to_string(directory.members) + " records", "at most " + std::to_string(max_zip_members)));
  return directory;
}

/// A central directory entry.
struct ZipEntry {
  std::string name;
  std::uint16_t flags = 0;
  std::uint16_t method = 0;
  std::uint32_t crc = 0;
  std::uint64_t compressed = 0;
  std::uint64_t size = 0;
  std::uint64_t header = 0;  ///< byte of the local header
  std::uint64_t next = 0;    ///< byte of the following directory entry
};

[[nodiscard]] inline std::string record_place(std::string_view name) { return "record " + quoted(name); }

/// Replaces the saturated 32-bit values, in the order that the zip64 extra field (id 1) lists them.
inline void apply_zip64_extra(const ZipBytes& zip, const std::string& place, std::uint64_t at, std::uint64_t length,
                              std::initializer_list<std::uint64_t*> values) {
  const std::uint64_t end = at + length;
  while (at + 4 <= end) {
    const std::uint16_t id = zip.u16(at);
    const std::uint64_t size = zip.u16(at + 2);
    at += 4;
    if (size > end - at)
      throw FormatError(zip.file(), place, found_expected("an extra field beyond its record", "none"));
    if (id == 1) {
      std::uint64_t value = at;
      for (std::uint64_t* const target : values) {
        if (*target != zip_saturated) continue;
        if (value + 8 > at + size)
          throw FormatError(zip.file(), place, found_expected("a zip64 field that is too short", "all its sizes"));
        *target = zip.u64(value);
        value += 8;
      }
      return;
    }
    at += size;
  }
}

inline void check_member_name(const ZipBytes& zip, std::string_view name) {
  const bool leaves = name.starts_with("/") || name == ".." || name.starts_with("../") || name.ends_with("/..") ||
                      name.find("/../") != std::string_view::npos || name.find('\\') != std::string_view::npos;
  if (name.empty() || leaves || name.find('\0') != std::string_view::npos)
    throw FormatError(zip.file(), record_place(name), found_expected("this name", "a path inside the archive"));
}

[[nodiscard]] inline ZipEntry read_central_entry(const ZipBytes& zip, std::uint64_t at, std::uint64_t directory_end) {
  if (directory_end - at < zip_central_size || zip.u32(at) != zip_central_signature)
    throw FormatError(zip.file(), "byte " + std::to_string(at), "found no central directory entry, expected one");
  const std::uint64_t name_length = zip.u16(at + 28);
  const std::uint64_t extra_length = zip.u16(at + 30);
  const std::uint64_t comment_length = zip.u16(at + 32);
  ZipEntry entry{.name = std::string(zip.text(at + zip_central_size, name_length)),
                 .flags = zip.u16(at + 8),
                 .method = zip.u16(at + 10),
                 .crc = zip.u32(at + 16),
                 .compressed = zip.u32(at + 20),
                 .size = zip.u32(at + 24),
                 .header = zip.u32(at + 42),
                 .next = at + zip_central_size + name_length + extra_length + comment_length};
  if (entry.next > directory_end)
    throw FormatError(zip.file(), "byte " + std::to_string(at), "found a directory entry beyond the central directory");
  check_member_name(zip, entry.name);
  const std::string place = record_place(entry.name);
  apply_zip64_extra(zip, place, at + zip_central_size + name_length, extra_length,
                    {&entry.size, &entry.compressed, &entry.header});
  if ((entry.flags & 0x2041) != 0) throw FormatError(zip.file(), place, found_expected("an encrypted record", "none"));
  if (entry.method != 0)
    throw FormatError(zip.file(), place,
                      found_expected("compression method " + std::to_string(entry.method),
                                     "method 0 (stored), as torch.save writes; re-save the file"));
  if (entry.compressed != entry.size)
    throw FormatError(zip.file(), place,
                      found_expected("a stored size of " + std::to_string(entry.compressed),
                                     std::to_string(entry.size) + ", its size"));
  return entry;
}

/// True when the bytes at `at` are the record that follows data whose sizes the local header left open.
[[nodiscard]] inline std::uint64_t descriptor_size(const ZipBytes& zip, std::uint64_t at, std::uint64_t limit,
                                                   const ZipEntry& entry) {
  if (limit - at < 16 || zip.u32(at) != zip_descriptor_signature || zip.u32(at + 4) != entry.crc) return 0;
  if (zip.u32(at + 8) == entry.size && zip.u32(at + 12) == entry.size) return 16;
  if (limit - at >= 24 && zip.u64(at + 8) == entry.size && zip.u64(at + 16) == entry.size) return 24;
  return 0;
}

/// Checks the local header against the directory entry and gives the data's place, and the byte where the record ends.
[[nodiscard]] inline std::pair<ZipMember, std::uint64_t> read_local_header(const ZipBytes& zip, const ZipEntry& entry,
                                                                           std::uint64_t limit) {
  const std::string place = record_place(entry.name);
  const auto refuse = [&](const std::string& what, const std::string& found, const std::string& expected) {
    throw FormatError(
        zip.file(), place,
        what + ": found " + found + " in the local header, expected " + expected + " as in the central directory");
  };
  if (entry.header > limit || limit - entry.header < zip_local_size || zip.u32(entry.header) != zip_local_signature)
    throw FormatError(zip.file(), place,
                      "found no local header at byte " + std::to_string(entry.header) + ", expected one");
  const std::uint64_t at = entry.header;
  const std::uint64_t name_length = zip.u16(at + 26);
  const std::uint64_t extra_length = zip.u16(at + 28);
  const std::string_view name = zip.text(at + zip_local_size, name_length);
  if (name != entry.name) refuse("name", quoted(name), quoted(entry.name));
  if (zip.u16(at + 6) != entry.flags) refuse("flags", std::to_string(zip.u16(at + 6)), std::to_string(entry.flags));
  if (zip.u16(at + 8) != entry.method)
    refuse("compression method", std::to_string(zip.u16(at + 8)), std::to_string(entry.method));
  const std::uint64_t begin = at + zip_local_size + name_length + extra_length;
  if (begin > limit || entry.size > limit - begin)
    throw FormatError(zip.file(), place,
                      found_expected(std::to_string(entry.size) + " bytes at byte " + std::to_string(begin),
                                     "at most " + std::to_string(begin > limit ? 0 : limit - begin)));

  std::uint32_t crc = zip.u32(at + 14);
  std::uint64_t compressed = zip.u32(at + 18);
  std::uint64_t size = zip.u32(at + 22);
  apply_zip64_extra(zip, place, at + zip_local_size + name_length, extra_length, {&size, &compressed});
  std::uint64_t end = begin + entry.size;
  if ((entry.flags & 8) != 0) {  // sizes and CRC follow the data; in the header they may be zero
    const std::uint64_t length = descriptor_size(zip, end, limit, entry);
    if (length == 0)
      throw FormatError(zip.file(), place, "found no matching data descriptor after the data, expected one");
    end += length;
    if (crc == 0) crc = entry.crc;
    if (size == 0) size = entry.size;
    if (compressed == 0) compressed = entry.size;
  }
  if (crc != entry.crc) refuse("CRC-32", std::to_string(crc), std::to_string(entry.crc));
  if (size != entry.size) refuse("size", std::to_string(size), std::to_string(entry.size));
  if (compressed != entry.size) refuse("stored size", std::to_string(compressed), std::to_string(entry.size));
  return {ZipMember{.name = entry.name, .begin = begin, .size = entry.size, .crc = entry.crc}, end};
}

}  // namespace detail

/// The records of a zip archive whose whole content is `content`, in the order of its directory. Strict on purpose, so
/// that no other reader can see other records: one end record at the end of the file, no comment, records stored and
/// unencrypted, local headers and central directory in agreement, no name twice, no overlap. Sizes may be zip64.
/// `file` names the archive in messages. Throws FormatError, LimitError.
[[nodiscard]] inline std::vector<ZipMember> read_zip_directory(std::string_view content, const std::string& file) {
  const detail::ZipBytes zip(content, file);
  const detail::ZipDirectory directory = detail::locate_zip_directory(zip);

  struct Extent {
    std::uint64_t begin, end;
    std::size_t member;
  };
  std::vector<ZipMember> members;
  std::vector<Extent> extents;
  std::uint64_t at = directory.begin;
  for (std::uint64_t i = 0; i < directory.members; ++i) {
    const detail::ZipEntry entry = detail::read_central_entry(zip, at, directory.begin + directory.size);
    auto [member, end] = detail::read_local_header(zip, entry, directory.begin);
    extents.push_back({entry.header, end, members.size()});
    members.push_back(std::move(member));
    at = entry.next;
  }
  if (at != directory.begin + directory.size)
    throw FormatError(
        file, "byte " + std::to_string(at),
        found_expected(std::to_string(directory.begin + directory.size - at) + " bytes after the last directory entry",
                       "none"));

  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < extents.size(); ++i)
    if (extents[i].begin < extents[i - 1].end)
      throw FormatError(file, detail::record_place(members[extents[i].member].name),
                        found_expected("bytes that overlap record " + quoted(members[extents[i - 1].member].name),
                                       "bytes of its own"));
  std::vector<const std::string*> names;
  for (const ZipMember& member : members) names.push_back(&member.name);
  std::sort(names.begin(), names.end(), [](const std::string* a, const std::string* b) { return *a < *b; });
  for (std::size_t i = 1; i < names.size(); ++i)
    if (*names[i] == *names[i - 1])
      throw FormatError(file, detail::record_place(*names[i]), found_expected("the record twice", "once"));
  return members;
}

/// Compares the CRC-32 of every record with the one that the archive states, on all processors. torch itself does not
/// check it, so rotten bits in a `.bin` go unnoticed there. Reads every byte of `file` once.
/// Throws FormatError that lists the damaged records.
inline void verify_crc(const MappedFile& file, const std::vector<ZipMember>& members) {
  constexpr std::uint64_t piece = 16 << 20;
  std::vector<std::size_t> order(members.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  // Largest first, so that no processor is left alone with a long record at the end.
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(members[b].size, a) < std::pair(members[a].size, b);
  });

  std::vector<std::uint32_t> found(members.size());
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < order.size(); i = next++) {
      const ZipMember& member = members[order[i]];
      std::uint32_t crc = 0;
      for (std::uint64_t done = 0; done < member.size; done += piece) {
        const std::uint64_t length = std::min(piece, member.size - done);
        file.populate(member.begin + done, length);
        crc = libdeflate_crc32(crc, file.data() + member.begin + done, length);
        file.release(member.begin + done, length);  // a checkpoint may be larger than the parts of it that are used
      }
      found[order[i]] = crc;
    }
  };
  {
    std::vector<std::jthread> workers;
    const std::size_t processors = std::max(1U, std::thread::hardware_concurrency());
    for (std::size_t i = 1; i < std::min(processors, members.size()); ++i) workers.emplace_back(work);
    work();
  }

  FileDefects defects(file.name());
  for (std::size_t i = 0; i < members.size(); ++i)
    if (found[i] != members[i].crc)
      defects.add(detail::record_place(members[i].name),
                  found_expected("data with CRC-32 " + std::to_string(found[i]),
                                 std::to_string(members[i].crc) + " (the file is damaged)"));
  file.require_intact();
  defects.throw_if_any();
}

}  // namespace lisa
