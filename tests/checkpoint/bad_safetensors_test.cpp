// torch-free
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "lisa/checkpoint/finite.hpp"
#include "lisa/checkpoint/safetensors_writer.hpp"
#include "lisa/checkpoint/tensor_file.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

using lisa::ErrorKind;
using lisa::test::TempDir;

namespace {

/// A file with a header of the stated length, the header, and the data.
std::string file_of(const std::string& header, const std::string& data, std::uint64_t length) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + data;
}
std::string file_of(const std::string& header, const std::string& data = {}) {
  return file_of(header, data, header.size());
}

/// Header with one tensor "w" of these fields.
std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"w\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
}
std::string two(const std::string& first, const std::string& second) {
  return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
         R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
}

const std::string good_header = tensor("\"F32\"", "[2]", "[0,8]");

struct Row {
  std::string id;
  std::string content;
  std::vector<std::string> words;
};

std::vector<Row> refused_rows() {
  const std::string data8(8, 'x');
  std::string overlapping = "{";
  for (int i = 0; i < 100'000; ++i)
    overlapping += "\"t" + std::to_string(i) + R"(":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)";
  overlapping.back() = '}';
  std::string dims = "[1";
  for (int i = 1; i < 10'000; ++i) dims += ",1";
  dims += ']';
  return {
      {"1", "", {"empty file"}},
      {"2 one byte", "x", {"byte 0", "1 bytes", "at least 8"}},
      {"2 seven bytes", "1234567", {"byte 0", "7 bytes", "at least 8"}},
      {"3", file_of("{}", "", 0), {"header length 0", "at most 2"}},
      {"4", file_of("{}", "", std::uint64_t{1} << 63), {"header length 9223372036854775808", "at most 2"}},
      {"5", file_of("{}", "", ~std::uint64_t{0}), {"header length 18446744073709551615", "at most 2"}},
      {"6", file_of("{}", "", 100'000'001), {"header length 100000001", "at most"}},
      {"7", file_of("{}", "", 3), {"header length 3", "at most 2"}},
      {"9", file_of(good_header, data8 + "x"), {"1 bytes after the last tensor", "byte 8"}},
      {"10 byte FF", file_of("{\"\xFF\":1}"), {"header byte", "UTF-8"}},
      {"10 overlong", file_of("{\"\xC0\x80\":1}"), {"header byte", "UTF-8"}},
      {"10 surrogate", file_of("{\"\xED\xA0\x80\":1}"), {"header byte", "UTF-8"}},
      {"10 byte order mark", file_of("\xEF\xBB\xBF{}"), {"byte order mark"}},
      {"11 array", file_of("[]"), {"an array", "an object"}},
      {"11 null", file_of("null"), {"null", "an object"}},
      {"11 string", file_of("\"x\""), {"\"x\"", "an object"}},
      {"12 two objects", file_of("{}{}"), {"header byte 3"}},
      {"12 rest", file_of("{}x"), {"header byte 3"}},
      {"13 same offsets",
       file_of(
           R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
           data8),
       {"tensor \"a\"", "twice"}},
      {"13 other offsets",
       file_of(
           R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
           data8),
       {"tensor \"a\"", "twice"}},
      {"14",
       file_of(R"({"w":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", data8),
       {"tensor \"w\"", "dtype", "twice"}},
      {"15 dtype", file_of(R"({"w":{"shape":[2],"data_offsets":[0,8]}})", data8), {"tensor \"w\"", "no dtype"}},
      {"15 shape", file_of(R"({"w":{"dtype":"F32","data_offsets":[0,8]}})", data8), {"tensor \"w\"", "no shape"}},
      {"15 offsets", file_of(R"({"w":{"dtype":"F32","shape":[2]}})", data8), {"tensor \"w\"", "no data_offsets"}},
      {"16",
       file_of(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})", data8),
       {"tensor \"w\"", "\"more\""}},
      {"17 unknown", file_of(tensor("\"F128\"", "[2]", "[0,8]"), data8), {"tensor \"w\"", "\"F128\"", "BF16"}},
      {"17 F8", file_of(tensor("\"F8_E4M3\"", "[8]", "[0,8]"), data8), {"tensor \"w\"", "\"F8_E4M3\""}},
      {"17 F4", file_of(tensor("\"F4\"", "[16]", "[0,8]"), data8), {"tensor \"w\"", "\"F4\""}},
      {"17 a number", file_of(tensor("7", "[16]", "[0,8]"), data8), {"tensor \"w\"", "dtype", "7", "a string"}},
      {"18 -1", file_of(tensor("\"F32\"", "[-1]", "[0,8]"), data8), {"tensor \"w\"", "shape", "-1"}},
      {"18 1.5", file_of(tensor("\"F32\"", "[1.5]", "[0,8]"), data8), {"tensor \"w\"", "shape", "1.5"}},
      {"18 1e3", file_of(tensor("\"F32\"", "[1e3]", "[0,8]"), data8), {"tensor \"w\"", "shape", "1e3"}},
      {"18 string", file_of(tensor("\"F32\"", "[\"4\"]", "[0,8]"), data8), {"tensor \"w\"", "shape", "\"4\" (string)"}},
      {"18 null", file_of(tensor("\"F32\"", "[null]", "[0,8]"), data8), {"tensor \"w\"", "shape", "null"}},
      {"18 nested", file_of(tensor("\"F32\"", "[[2]]", "[0,8]"), data8), {"tensor \"w\"", "shape", "an array"}},
      {"18 no array", file_of(tensor("\"F32\"", "{}", "[0,8]"), data8), {"tensor \"w\"", "shape", "an object"}},
      {"19 shape", file_of(tensor("\"U8\"", "[2,18446744073709551614]", "[0,8]"), data8), {"tensor \"w\"", "2^63"}},
      {"19 shape of int64",
       file_of(tensor("\"U8\"", "[4,4611686018427387904]", "[0,8]"), data8),
       {"tensor \"w\"", "2^63"}},
      {"19 bytes", file_of(tensor("\"F16\"", "[9223372036854775807]", "[0,8]"), data8), {"tensor \"w\"", "2^63"}},
      {"19 beside 0", file_of(tensor("\"F16\"", "[0,4611686018427387904,4]", "[0,0]")), {"tensor \"w\"", "2^63"}},
      {"20", file_of(tensor("\"F32\"", dims, "[0,8]"), data8), {"tensor \"w\"", "10000 dimensions", "at most 64"}},
      {"21", file_of(tensor("\"F32\"", "[2]", "[8,0]"), data8), {"tensor \"w\"", "[8, 0]"}},
      {"22", file_of(tensor("\"F32\"", "[4]", "[0,16]"), data8), {"tensor \"w\"", "[0, 16]", "at most 8"}},
      {"22 huge",
       file_of(tensor("\"F32\"", "[2]", "[18446744073709551607,18446744073709551615]"), data8),
       {"tensor \"w\"", "at most 8"}},
      {"23 negative", file_of(tensor("\"F32\"", "[2]", "[-8,0]"), data8), {"tensor \"w\"", "data_offsets", "-8"}},
      {"23 float", file_of(tensor("\"F32\"", "[2]", "[0,8.0]"), data8), {"tensor \"w\"", "data_offsets", "8.0"}},
      {"24", file_of(tensor("\"F32\"", "[2]", "[0,4,8]"), data8), {"tensor \"w\"", "data_offsets", "3 numbers", "two"}},
      {"24 one", file_of(tensor("\"F32\"", "[2]", "[0]"), data8), {"tensor \"w\"", "1 numbers", "two"}},
      {"25", file_of(two("[0,4]", "[2,6]"), "123456"), {"tensor \"b\"", "overlaps", "\"a\""}},
      {"26", file_of(two("[0,4]", "[5,9]"), "123456789"), {"tensor \"b\"", "hole of 1 bytes"}},
      {"26 at the start", file_of(two("[1,5]", "[5,9]"), "123456789"), {"tensor \"a\"", "hole of 1 bytes"}},
      {"27", file_of(tensor("\"F32\"", "[3]", "[0,8]"), data8), {"tensor \"w\"", "8 bytes", "12", "F32 [3]"}},
      {"28", file_of(overlapping, data8), {"99999 defects", "tensor \"t1\"", "overlaps", "and 99979 more"}},
      {"29", file_of(R"({"__metadata__":{"format":1}})"), {"__metadata__", "\"format\"", "a string"}},
      {"29 no object", file_of(R"({"__metadata__":"pt"})"), {"__metadata__", "an object"}},
      {"33 escape codes", file_of("{\"\\u001b[31mred\":1}"), {"\\x1b[31mred"}},
      {"33 NUL and line end", file_of("{\"a\\u0000b\\n\":1}"), {"a\\x00b\\x0a"}},
      {"33 long", file_of("{\"" + std::string(1'000'000, 'n') + "\":1}"), {"nnn", "(1000000 bytes)"}},
      {"33 path", file_of("{\"../x\":1}"), {"tensor \"../x\""}},
      {"deep", file_of("{\"w\":" + std::string(100'000, '[')), {"nested deeper than 64"}},
      {"deep in fields", file_of("{\"w\":{\"x\":" + std::string(100'000, '{')), {"header byte"}},
      {"several",
       file_of(
           R"({"a":{"dtype":"X","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"Y","shape":[2],"data_offsets":[0,8]}})"),
       {"2 defects", "\"X\"", "\"Y\""}},
      {"48", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", {"Git LFS pointer", "git lfs pull"}},
      {"49", "<!DOCTYPE html>\n<html><body>404</body></html>", {"HTML"}},
      {"49 indented", "\n  <html lang=\"en\"></html>", {"HTML"}},
  };
}

}  // namespace

TEST_CASE("bad safetensors files are refused with file, place and reason") {
  const TempDir folder;
  const std::filesystem::path path = folder / "weights.safetensors";
  for (const Row& row : refused_rows()) {
    lisa::test::write_text(path, row.content);
    CHECK(lisa::test::broken_promises({.row = row.id,
                                       .kind = ErrorKind::format,
                                       .file = "weights.safetensors",
                                       .words = row.words,
                                       .unchanged = folder.path(),
                                       .input_bytes = row.content.size()},
                                      [&] { static_cast<void>(lisa::open_tensor_file(path)); }) == "");
  }
}

TEST_CASE("odd but legal safetensors files are read") {
  const std::string name = "weights.safetensors";
  const auto parse = [&](const std::string& content) { return lisa::parse_safetensors_header(content, name); };
  CHECK(parse(file_of("{}")).tensors.empty());
  CHECK(parse(file_of("{}     ")).tensors.empty());                                     // row 12
  CHECK(parse(file_of("  \n\t{}")).tensors.empty());                                    // row 12
  CHECK(parse(file_of(tensor("\"F32\"", "[]", "[0,4]"), "1234")).tensors.size() == 1);  // row 30: rank 0
  CHECK(parse(file_of(tensor("\"F32\"", "[3,0,2]", "[0,0]"))).tensors.size() == 1);     // row 30: no elements
  const lisa::SafetensorsHeader odd = parse(file_of(good_header + " ", "12345678"));    // row 32
  CHECK(odd.tensors.at(0).begin % 4 == odd.data_begin % 4);
  const lisa::SafetensorsHeader escaped =
      parse(file_of(R"({"\u0061\n/../":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"));
  CHECK(escaped.tensors.at(0).name == "a\n/../");
  const lisa::SafetensorsHeader meta = parse(file_of(R"({"__metadata__":{"format":"pt","k":"v"}})"));
  CHECK(meta.metadata.size() == 2);
  CHECK(meta.metadata.at("format") == "pt");
  for (const lisa::StoredDtypeInfo& type : lisa::stored_dtypes) {
    const std::string bytes = std::to_string(type.bytes);
    const auto header =
        parse(file_of(tensor("\"" + std::string(type.safetensors_name) + "\"", "[1]", "[0," + bytes + "]"),
                      std::string(type.bytes, '\0')));
    CHECK((header.tensors.at(0).dtype == type.dtype));
  }
}

TEST_CASE("tensors come in the order of their data, whatever the order of the header") {
  const lisa::SafetensorsHeader header =
      lisa::parse_safetensors_header(file_of(two("[4,8]", "[0,4]"), "12345678"), "f");
  REQUIRE(header.tensors.size() == 2);
  CHECK(header.tensors[0].name == "b");
  CHECK(header.tensors[1].name == "a");
  CHECK(header.tensors[0].begin == header.data_begin);
  CHECK(header.tensors[1].end == header.data_begin + 8);
}

TEST_CASE("a header of 100 000 tensors is read within the usual bounds") {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i)
    header += "\"model.layers.t" + std::to_string(i) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" +
              std::to_string(i) + "," + std::to_string(i + 1) + "]},";
  header.back() = '}';
  CHECK(lisa::parse_safetensors_header(file_of(header, std::string(100'000, 'x')), "f").tensors.size() == 100'000);
}

TEST_CASE("NaN and infinite weights load, and are named when asked for (row 31)") {
  const TempDir folder;
  const std::filesystem::path path = folder / "weights.safetensors";
  std::string data(24, '\0');
  const float infinity = std::numeric_limits<float>::infinity();
  std::memcpy(data.data() + 16, &infinity, 4);
  lisa::test::write_text(path, file_of(tensor("\"F32\"", "[2,3]", "[0,24]"), data));
  const lisa::TensorFile file = lisa::open_tensor_file(path);
  CHECK(lisa::test::broken_promises({.row = "31", .file = "weights.safetensors", .words = {"tensor \"w\"", "[1, 1]"}},
                                    [&] { lisa::require_finite(file); }) == "");
}

TEST_CASE("every truncation and every flipped bit of a small file gives an error or another valid header") {
  std::vector<std::byte> values(24);
  const TempDir folder;
  const std::filesystem::path path = folder / "small.safetensors";
  lisa::stage_safetensors(path,
                          {{.name = "embed", .dtype = lisa::StoredDtype::f32, .shape = {2, 2}},
                           {.name = "half", .dtype = lisa::StoredDtype::bf16, .shape = {3}},
                           {.name = "flag", .dtype = lisa::StoredDtype::boolean, .shape = {2}}},
                          {{"format", "pt"}},
                          [&](const lisa::StoredTensor& tensor, const lisa::ByteSink& sink) {
                            sink(std::span(values).first(*lisa::byte_count(tensor.shape, tensor.dtype)));
                          })
      .commit();
  const std::string good = lisa::test::read_text(path);
  REQUIRE(good.size() > 200);
  const std::size_t tensors = lisa::parse_safetensors_header(good, "f").tensors.size();
  REQUIRE(tensors == 3);

  for (std::size_t length = 0; length < good.size(); ++length)  // row 8
    CHECK_THROWS_AS(static_cast<void>(lisa::parse_safetensors_header(std::string(good, 0, length), "f")), lisa::Error);

  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    try {
      // What is still accepted differs in a name, an equivalent dtype, metadata or data: ranges stay inside the file.
      for (const lisa::StoredTensor& tensor : lisa::parse_safetensors_header(bad, "f").tensors) {
        REQUIRE(tensor.begin <= tensor.end);
        REQUIRE(tensor.end <= bad.size());
        REQUIRE(lisa::byte_count(tensor.shape, tensor.dtype) == tensor.end - tensor.begin);
      }
    } catch (const lisa::Error& error) {
      ++refused;
      REQUIRE(std::string(error.what()).starts_with("f: "));
    }
  }
  CHECK(refused > 1000);
}
