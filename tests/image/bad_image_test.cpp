// torch-free
#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/image/read_image.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/ordinary_user.hpp"
#include "tests/support/png_builder.hpp"
#include "tests/support/recorded_arrays.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using namespace std::string_view_literals;

namespace {

using test::append;
using test::big_endian;
using test::Bytes;
using test::bytes_of;
using test::deflated;

const std::string folder = LISA_TEST_DATA "/fixtures/images/";

Bytes chunk(std::string_view type, const Bytes& content) { return test::png_chunk(type, content); }

/// An 8-bit grey PNG whose chunks between IHDR and IEND are `middle`.
Bytes png(std::uint32_t width, std::uint32_t height, const Bytes& middle) {
  return test::png_file(width, height, 8, 0, middle);
}

Bytes segment(std::uint8_t marker, const Bytes& content) {
  Bytes out{0xFF, marker};
  append(out, big_endian(static_cast<std::uint32_t>(content.size()) + 2, 2));
  append(out, content);
  return out;
}

Bytes frame(std::uint8_t marker, std::uint8_t precision, std::uint32_t width, std::uint32_t height) {
  Bytes content{precision};
  append(content, big_endian(height, 2));
  append(content, big_endian(width, 2));
  append(content, {1, 1, 0x11, 0});
  return segment(marker, content);
}

/// A JPEG that ends after its frame header.
Bytes jpeg_header(std::uint8_t marker, std::uint8_t precision, std::uint32_t width, std::uint32_t height) {
  Bytes out{0xFF, 0xD8};
  append(out, frame(marker, precision, width, height));
  append(out, segment(0xDA, {1, 1, 0, 0, 63, 0}));
  append(out, {0x7F, 0xFF, 0xD9});
  return out;
}

/// A legal progressive JPEG of one block: one scan for DC, then one per coefficient and bit plane, each of one bit that
/// says "nothing left in this block".
Bytes many_scans(int scans) {
  Bytes out{0xFF, 0xD8};
  Bytes quantization(65, 1);
  quantization[0] = 0;
  append(out, segment(0xDB, quantization));
  append(out, frame(0xC2, 8, 8, 8));
  for (const std::uint8_t table : {0x00, 0x10}) {
    Bytes huffman(18, 0);  // one code of one bit, for symbol 0
    huffman[0] = table;
    huffman[1] = 1;
    append(out, segment(0xC4, huffman));
  }
  const auto scan = [&](int coefficient, int high, int low) {
    const auto k = static_cast<std::uint8_t>(coefficient);
    append(out, segment(0xDA, {1, 1, 0, k, k, static_cast<std::uint8_t>(high << 4 | low)}));
    append(out, {0x7F});
    --scans;
  };
  scan(0, 0, 0);
  for (int k = 1; k < 64 && scans > 0; ++k) {
    scan(k, 0, 13);
    for (int low = 12; low >= 0 && scans > 0; --low) scan(k, low + 1, low);
  }
  append(out, {0xFF, 0xD9});
  return out;
}

std::size_t find(const Bytes& bytes, std::string_view text) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t at = all.find(text);
  REQUIRE(at != std::string_view::npos);
  return at;
}

/// Checks every promise for the file `name` with this content.
void check_refused(const std::string& row, ErrorKind kind, const std::string& name, const Bytes& content,
                   std::vector<std::string> words) {
  CAPTURE(row);
  CAPTURE(name);
  const test::TempDir temp;
  const std::filesystem::path path = temp / name;
  test::write_text(path, {reinterpret_cast<const char*>(content.data()), content.size()});
  const auto attempt = [&] { static_cast<void>(read_image(path)); };
  CHECK(test::broken_promises({.row = row,
                               .kind = kind,
                               .file = name,
                               .words = std::move(words),
                               .unchanged = temp.path(),
                               .input_bytes = content.size()},
                              attempt) == "");
}

/// True when the bytes give a picture, false when they give a lisa::Error; anything else fails the test.
bool accepted(const Bytes& bytes) {
  try {
    const Image image = decode_image(bytes, "swept");
    require_valid(image);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

TEST_CASE("empty files and empty pictures are refused") {
  check_refused("98", ErrorKind::format, "empty.png", {}, {"empty file"});
  const Bytes none = chunk("IDAT", deflated({}));
  check_refused("100", ErrorKind::format, "0x0.png", png(0, 0, none), {"0x0", "at least one pixel"});
  check_refused("100", ErrorKind::format, "1x0.png", png(1, 0, none), {"1x0"});
  check_refused("100", ErrorKind::format, "8x0.jpg", jpeg_header(0xC0, 8, 8, 0), {"8x0"});
  Bytes bmp = test::file_bytes(folder + "24.bmp");
  bmp[18] = 0;
  check_refused("100", ErrorKind::format, "0x11.bmp", bmp, {"0x11"});
}

TEST_CASE("long thin pictures are read") {
  const Bytes column = png(1, 10'000, chunk("IDAT", deflated(Bytes(20'000, 0))));
  const Bytes row = png(10'000, 1, chunk("IDAT", deflated(Bytes(10'001, 0))));
  CHECK(decode_image(column, "column").size() == ImageSize{10'000, 1});
  CHECK(decode_image(row, "row").size() == ImageSize{1, 10'000});
}

TEST_CASE("bombs are refused on their header") {
  const Bytes zeros(2'400'000, 0);
  check_refused("102", ErrorKind::limit, "bomb.png", png(50'000, 50'000, chunk("IDAT", zeros)),
                {"50000x50000", "at most 178956970"});
  check_refused("102", ErrorKind::format, "promise.png", png(13'000, 13'000, chunk("IDAT", Bytes(2000, 0))),
                {"2000 bytes of image data", "at least"});
  check_refused("103", ErrorKind::limit, "65535.jpg", jpeg_header(0xC0, 8, 65'535, 65'535), {"65535x65535"});
  check_refused("103", ErrorKind::format, "10000.jpg", jpeg_header(0xC2, 8, 10'000, 10'000), {"10000x10000"});
  Bytes bmp = test::file_bytes(folder + "24.bmp");
  bmp[20] = 1;  // width 65,549
  check_refused("103", ErrorKind::format, "wide.bmp", bmp, {"pixels up to byte"});
}

TEST_CASE("a JPEG of a thousand scans is refused, one of a hundred is read") {
  check_refused("108", ErrorKind::limit, "scans.jpg", many_scans(1000), {"scan 101", "at most 100"});
  CHECK(accepted(many_scans(100)));
}

TEST_CASE("kinds of JPEG that are not read are named") {
  check_refused("109", ErrorKind::format, "a.jpg", jpeg_header(0xC9, 8, 8, 8), {"arithmetic-coded"});
  check_refused("109", ErrorKind::format, "b.jpg", jpeg_header(0xCA, 8, 8, 8), {"arithmetic-coded"});
  check_refused("109", ErrorKind::format, "c.jpg", jpeg_header(0xC1, 12, 8, 8), {"12-bit"});
  check_refused("109", ErrorKind::format, "d.jpg", jpeg_header(0xC3, 8, 8, 8), {"lossless"});
  check_refused("109", ErrorKind::format, "e.jpg", jpeg_header(0xF7, 8, 8, 8), {"JPEG-LS"});
  check_refused("109", ErrorKind::format, "f.jpg", jpeg_header(0xC5, 8, 8, 8), {"hierarchical"});
}

TEST_CASE("a bomb in a PNG's text or colour profile is never inflated") {
  const Bytes zeros(128 << 20, 0);
  const Bytes bomb = deflated(zeros);
  for (const std::string_view type : {"zTXt"sv, "iCCP"sv, "iTXt"sv}) {
    CAPTURE(type);
    Bytes content = bytes_of("name\0\0"sv);
    if (type == "iTXt") content = bytes_of("name\0\1\0\0\0"sv);
    append(content, bomb);
    Bytes middle = chunk(type, content);
    append(middle, chunk("IDAT", deflated(Bytes(6, 0))));
    const Bytes file = png(2, 2, middle);
    test::detail::reset_peak_memory();
    const auto before = test::detail::memory_status("VmHWM:");
    CHECK(decode_image(file, "text.png").size() == ImageSize{2, 2});
    CHECK(test::detail::memory_status("VmHWM:") <= before + (16 << 20));
  }
}

TEST_CASE("damaged PNG files are refused with the place") {
  const Bytes good = test::file_bytes(folder + "rgb_8.png");
  REQUIRE(accepted(good));
  Bytes bytes = good;
  bytes[find(good, "IHDR") + 5] ^= 1;  // another width, so the checksum no longer fits
  check_refused("111", ErrorKind::format, "ihdr.png", bytes, {"IHDR"});
  bytes = good;
  bytes[find(good, "IDAT") + 20] ^= 1;
  check_refused("111", ErrorKind::format, "data.png", bytes, {"IDAT"});
  bytes = good;
  bytes[find(good, "IEND") - 5] ^= 1;  // last byte of the checksum before it
  check_refused("111", ErrorKind::format, "idat.png", bytes, {"CRC"});
  bytes.assign(good.begin(), good.end() - 12);
  check_refused("111", ErrorKind::format, "no_iend.png", bytes, {"expected IEND"});
  bytes = good;
  append(bytes, chunk("IDAT", {1, 2, 3}));
  check_refused("111", ErrorKind::format, "after.png", bytes, {"image data after IEND"});
  bytes = good;
  append(bytes, bytes_of("some bytes after the end"));
  CHECK(accepted(bytes));
  check_refused("111", ErrorKind::format, "short.png", png(64, 64, chunk("IDAT", deflated(Bytes(65, 0)))), {"damaged"});
  check_refused("111", ErrorKind::format, "length.png", png(8, 8, big_endian(0x7FFFFFFF, 4)), {"left in the file"});
  check_refused("111", ErrorKind::format, "none.png", png(8, 8, {}), {"damaged"});
}

TEST_CASE("other formats are named") {
  const auto padded = [](std::string_view head) {
    Bytes bytes = bytes_of(head);
    bytes.resize(64, 7);
    return bytes;
  };
  struct Case {
    std::string_view head;
    std::string name;
  };
  for (const Case& c : {Case{"GIF89a"sv, "GIF"},
                        Case{"\0\0\0\x1c"
                             "ftypavif"sv,
                             "AVIF"},
                        Case{"\0\0\0\x1c"
                             "ftypheic"sv,
                             "HEIC"},
                        Case{"II*\0"sv, "TIFF"}, Case{"MM\0*"sv, "TIFF"}, Case{"P6 3 4 255\n"sv, "PNM"}})
    check_refused("113", ErrorKind::format, "picture.png", padded(c.head), {"unsupported format " + c.name});
  check_refused("113", ErrorKind::format, "text.png", padded("hello\x1b[31m"sv), {"unknown content", "hello\\x1b"});
  Bytes animated = bytes_of("RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x07\0\0\x07\0\0ANIM\0\0\0\0"sv);
  check_refused("113", ErrorKind::format, "animated.webp", animated, {"animation"});
}

TEST_CASE("paths that are no readable file are refused at once") {
  const test::TempDir temp;
  std::filesystem::create_directory(temp / "folder.png");
  REQUIRE(::mkfifo((temp / "pipe.png").c_str(), 0600) == 0);
  test::write_text(temp / "locked.png", "x");
  std::filesystem::permissions(temp / "locked.png", std::filesystem::perms::none);
  const auto check = [&](const std::filesystem::path& path, const std::string& word) {
    CHECK(test::broken_promises(
              {.row = "114", .kind = ErrorKind::io, .file = printable(path.filename().string()), .words = {word}},
              [&] { static_cast<void>(read_image(path)); }) == "");
  };
  check(temp / "folder.png", "a directory");
  check(temp / "pipe.png", "a FIFO");
  check("/dev/zero", "a device");
  check(temp / "missing.png", "No such file");
  check(temp / "missing\x1b[2J.png", "No such file");
  const test::OrdinaryUser user;
  check(temp / "locked.png", "Permission denied");
}

TEST_CASE("a file cut at any byte is refused") {
  for (const std::string name :
       {"rgb_8.png", "palette_4_interlaced.png", "exif_6.png", "420.jpg", "420_progressive.jpg", "restarts.jpg",
        "exif_6.jpg", "cmyk.jpg", "24.bmp", "palette_4.bmp", "lossy.webp", "lossless.webp", "lossy_alpha.webp"}) {
    CAPTURE(name);
    const Bytes good = test::file_bytes(folder + name);
    REQUIRE(accepted(good));
    std::vector<std::size_t> read;
    for (std::size_t length = 0; length < good.size(); ++length)
      if (accepted({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)})) read.push_back(length);
    CHECK(read == std::vector<std::size_t>{});
  }
}

TEST_CASE("a file with any single bit flipped gives a picture or an error") {
  for (const std::string name : {"exif_6.png", "palette_4_interlaced.png", "420.jpg", "420_progressive.jpg",
                                 "exif_6.jpg", "palette_4.bmp", "565.bmp", "lossy.webp", "lossless.webp"}) {
    CAPTURE(name);
    Bytes bytes = test::file_bytes(folder + name);
    int refused = 0;
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
      if (!accepted(bytes)) ++refused;
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    }
    CHECK(refused > 0);
  }
}

TEST_CASE("a flipped bit in a PNG's picture is always noticed") {
  const Bytes good = test::file_bytes(folder + "rgb_8.png");  // IHDR, IDAT and IEND only
  Bytes bytes = good;
  std::vector<std::size_t> missed;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    if (accepted(bytes)) missed.push_back(bit);
    bytes[bit / 8] = good[bit / 8];
  }
  CHECK(missed == std::vector<std::size_t>{});
}
