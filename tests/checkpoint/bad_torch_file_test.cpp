// torch-free
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lisa/checkpoint/tensor_file.hpp"
#include "lisa/checkpoint/torch_writer.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/zip_builder.hpp"

#include <doctest/doctest.h>

using lisa::ErrorKind;
using lisa::test::TempDir;
using lisa::test::zip_of;
using lisa::test::ZipEnd;
using lisa::test::ZipRecord;

namespace {

std::string u32(std::uint32_t value) {
  std::string bytes;
  lisa::test::put(bytes, value);
  return bytes;
}
std::string text(const std::string& value) { return "X" + u32(static_cast<std::uint32_t>(value.size())) + value; }
std::string integer(std::int32_t value) { return "J" + u32(static_cast<std::uint32_t>(value)); }
std::string long_integer(std::int64_t value) {
  std::string bytes = "\x8a\x08";
  lisa::test::put(bytes, value);
  return bytes;
}
std::string tuple(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
std::string global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }

const std::string hooks = global("collections", "OrderedDict") + ")R";
const std::string no = "\x89";

std::string storage(const std::string& elements = integer(6), const std::string& type = "FloatStorage",
                    const std::string& key = "0") {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"), elements}) + "Q";
}
std::string rebuild(const std::vector<std::string>& arguments) {
  return global("torch._utils", "_rebuild_tensor_v2") + tuple(arguments) + "R";
}
std::string tensor(const std::string& size = tuple({"K\x02", "K\x03"}),
                   const std::string& stride = tuple({"K\x03", "K\x01"}), const std::string& offset = integer(0),
                   const std::string& from = storage()) {
  return rebuild({from, offset, size, stride, no, hooks});
}
/// A pickle of a dict with these alternating keys and values.
std::string pickle_of(const std::vector<std::string>& items) {
  std::string all = "\x80\x02}(";
  for (const std::string& item : items) all += item;
  return all + "u.";
}

const std::string data24(24, '\x01');

/// The records of a sound archive around a pickle.
std::vector<ZipRecord> records_of(const std::string& pickle) {
  return {{.name = "archive/data.pkl", .data = pickle},
          {.name = "archive/byteorder", .data = "little"},
          {.name = "archive/data/0", .data = data24},
          {.name = "archive/version", .data = "3\n"}};
}
std::string archive_of(const std::string& pickle) { return zip_of(records_of(pickle)); }

const std::string good_pickle = pickle_of({text("w"), tensor()});

template <class Change>
std::string archive_with(Change&& change, const ZipEnd& end = {}) {
  std::vector<ZipRecord> records = records_of(good_pickle);
  change(records);
  return zip_of(records, end);
}

struct Row {
  std::string id;
  std::string content;
  std::vector<std::string> words;
  ErrorKind kind = ErrorKind::format;
};

std::vector<Row> zip_rows() {
  using Records = std::vector<ZipRecord>;
  const std::string good = archive_of(good_pickle);
  const std::string second_end = zip_of(records_of(good_pickle), {.comment = zip_of(records_of(good_pickle))});
  const auto none = [](Records&) {};
  const std::string wide_size = std::string("\x01\x00\x08\x00", 4) + std::string(8, '\xFF');
  std::string flipped = good;
  flipped[good.find(data24)] ^= 4;
  return {
      {"53 legacy",
       std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15),
       {"legacy", "torch >= 1.6"}},
      {"53 bare pickle", good_pickle, {"bare pickle", "torch >= 1.6"}},
      {"53 tar", std::string(257, 'a') + "ustar" + std::string(300, 'b'), {"tar archive", "torch >= 1.6"}},
      {"54 no end record", good.substr(0, good.size() - 22), {"no zip end record"}},
      {"54 half", good.substr(0, good.size() / 2), {"no zip end record"}},
      {"54 head", "PK\x03\x04", {"4 bytes"}},
      {"55 comment", archive_with(none, {.comment = std::string(65'000, 'c')}), {"end record", "65000 bytes"}},
      {"55 two end records", second_end, {"central directory"}},
      {"55 bytes before the end",
       archive_with(none, {.before_end = "hidden"}),
       {"central directory", "end record begins"}},
      {"55 two archives", good + good, {"central directory"}},
      {"56 name",
       archive_with([](Records& r) { r[2].local_name = "archive/data/1"; }),
       {"\"archive/data/0\"", "\"archive/data/1\"", "local header"}},
      {"56 size", archive_with([](Records& r) { r[2].local_size = 23; }), {"\"archive/data/0\"", "size", "23", "24"}},
      {"56 method",
       archive_with([](Records& r) { r[2].local_method = 8; }),
       {"\"archive/data/0\"", "compression method", "8"}},
      {"56 flags", archive_with([](Records& r) { r[2].local_flags = 0x800; }), {"\"archive/data/0\"", "flags", "2048"}},
      {"56 CRC",
       archive_with([](Records& r) { r[2].local_crc = 1; }),
       {"\"archive/data/0\"", "CRC-32", "local header"}},
      {"56 offset",
       archive_with([](Records& r) { r[2].offset = 3; }),
       {"\"archive/data/0\"", "no local header at byte 3"}},
      {"56 offset beyond",
       archive_with([](Records& r) { r[2].offset = 0x7FFFFFFF; }),
       {"\"archive/data/0\"", "no local header"}},
      {"56 overlap",
       archive_with([](Records& r) {
         r.push_back(r[2]);
         r[4].offset = 0;
         r[4].name = r[4].local_name = "archive/data.pkl";
       }),
       {"local header"}},
      {"57", archive_with([](Records& r) { r[2].flags = r[2].local_flags = 1; }), {"\"archive/data/0\"", "encrypted"}},
      {"58",
       archive_with([](Records& r) {
         r[2].method = r[2].local_method = 8;
         r[2].size = 24'000'000;
       }),
       {"\"archive/data/0\"", "method 8", "stored"}},
      {"58 stored, other size", archive_with([](Records& r) { r[2].size = 25; }), {"\"archive/data/0\"", "24", "25"}},
      {"59", flipped, {"record \"archive/data/0\"", "CRC-32", "damaged"}},
      {"60",
       archive_with([&](Records& r) {
         r[2].size = 0xFFFFFFFF;
         r[2].central_extra = wide_size + std::string(0, ' ');
       }),
       {"\"archive/data/0\"", "zip64"}},
      {"60 both",
       archive_with([&](Records& r) {
         r[2].size = 0xFFFFFFFF;
         r[2].central_extra = std::string("\x01\x00\x10\x00", 4) + std::string(16, '\xFF');
       }),
       {"\"archive/data/0\"", "18446744073709551615"}},
      {"60 extra field",
       archive_with([&](Records& r) { r[2].central_extra = std::string("\x01\x00\xFF\x7F", 4); }),
       {"\"archive/data/0\"", "extra field"}},
      {"60 directory", archive_with(none, {.directory_offset = 0xFFFFFFF0}), {"central directory", "4294967280"}},
      {"60 record count", archive_with(none, {.records = 60'000}), {"60000 records"}},
      {"60 fewer records", archive_with(none, {.records = 3}), {"after the last directory entry"}},
      {"61 leaves", archive_with([](Records& r) { r[2].name = r[2].local_name = "../../x"; }), {"\"../../x\""}},
      {"61 absolute",
       archive_with([](Records& r) { r[2].name = r[2].local_name = "/etc/passwd"; }),
       {"\"/etc/passwd\""}},
      {"61 data.pkl twice", archive_with([](Records& r) { r.push_back(r[0]); }), {"\"archive/data.pkl\"", "twice"}},
      {"61 record twice", archive_with([](Records& r) { r.push_back(r[2]); }), {"\"archive/data/0\"", "twice"}},
      {"61 two archives",
       archive_with([](Records& r) { r.push_back({.name = "other/data.pkl", .data = good_pickle}); }),
       {"\"other/data.pkl\"", "second data.pkl"}},
      {"61 no data.pkl", archive_with([](Records& r) { r.erase(r.begin()); }), {"data.pkl", "no such record"}},
      {"61 no version", archive_with([](Records& r) { r.pop_back(); }), {"archive/version", "no such record"}},
      {"61 big endian",
       archive_with([](Records& r) { r[1].data = "big"; }),
       {"archive/byteorder", "\"big\"", "little"}},
      {"TorchScript",
       archive_with([](Records& r) { r.push_back({.name = "archive/constants.pkl", .data = "x"}); }),
       {"TorchScript"}},
      {"empty zip", zip_of({}), {"data.pkl"}},
  };
}

std::vector<Row> pickle_rows() {
  const std::string start = "\x80\x02";
  std::string nested = start + std::string(1'000'000, '(');
  nested += std::string(1'000'000, 't') + ".";
  const auto value = [](const std::string& item) { return archive_of(pickle_of({text("w"), item})); };
  const auto raw = [&](const std::string& body) { return archive_of(start + body); };
  const std::string size = tuple({"K\x02", "K\x03"});
  const std::string stride = tuple({"K\x03", "K\x01"});
  return {
      {"62",
       value(global("os", "system") + tuple({text("true")}) + "R"),
       {"data.pkl byte", "\"os system\"", "nothing was executed"}},
      {"62 posix", value(global("posix", "system")), {"\"posix system\""}},
      {"63", value(global("builtins", "eval") + tuple({text("1")}) + "R"), {"\"builtins eval\""}},
      {"63 torch.load", value(global("torch", "load")), {"\"torch load\""}},
      {"63 dotted", value(global("torch", "FloatStorage.__init__")), {"\"torch FloatStorage.__init__\""}},
      {"64",
       value(global("torch._utils", "_rebuild_tensor") + tuple({storage()}) + "R"),
       {"\"torch._utils _rebuild_tensor\""}},
      {"64 arity", value(rebuild({storage(), integer(0), size, stride})), {"4 arguments", "6 or 7"}},
      {"64 types",
       value(rebuild({storage(), integer(0), integer(6), stride, no, hooks})),
       {"a size that is an integer"}},
      {"64 no storage", value(rebuild({integer(1), integer(0), size, stride, no, hooks})), {"_rebuild_tensor_v2"}},
      {"64 parameter",
       value(global("torch._utils", "_rebuild_parameter") + tuple({tensor()}) + "R"),
       {"_rebuild_parameter"}},
      {"64 OrderedDict",
       value(global("collections", "OrderedDict") + tuple({"]"}) + "R"),
       {"OrderedDict with arguments"}},
      {"65 reduce of nothing", raw("R."), {"an empty stack"}},
      {"65 reduce of a number", value("K\x01)R"), {"an integer", "a name"}},
      {"65 call of a storage", value(global("torch", "FloatStorage") + ")R"), {"storage class"}},
      {"65 tuple2", raw("K\x01\x86."), {"an empty stack"}},
      {"65 setitem on a tuple", raw(")K\x01K\x02s."), {"a tuple", "a dict"}},
      {"65 append to a dict",
       raw("}K\x01"
           "a."),
       {"a dict", "a list"}},
      {"65 no mark", raw("}K\x01u."), {"no mark"}},
      {"65 value is a mark", raw("}((u."), {"a mark"}},
      {"65 odd pairs", raw("}(K\x01u."), {"a key without a value"}},
      {"65 memo", raw("h\x07."), {"value 7"}},
      {"65 long memo", raw("j" + u32(0xFFFFFFFF) + "."), {"value 4294967295"}},
      {"65 remember nothing", raw("q" + std::string(1, '\0') + "."), {"no value"}},
      {"65 list in itself", raw("]q" + std::string(1, '\0') + "h" + std::string(1, '\0') + "a."), {"contains itself"}},
      {"65 dict in itself",
       raw("}q" + std::string(1, '\0') + text("w") + "h" + std::string(1, '\0') + "s."),
       {"contains itself"}},
      {"65 build on a tuple", raw(")}b."), {"a tuple", "a dict"}},
      {"65 build with a list", raw("}]b."), {"a list", "a dict of attributes"}},
      {"65 storage reference", value(text("x") + "Q"), {"a string", "storage reference"}},
      {"65 storage parts", value(tuple({text("module"), text("x")}) + "Q"), {"storage reference"}},
      {"66", archive_of(nested), {"data.pkl"}, ErrorKind::format},
      {"66 endless tuples",
       archive_of(start + ")" + std::string(2'000'000, '\x85') + "."),
       {"more than 1000000"},
       ErrorKind::limit},
      {"66 endless values",
       archive_of(start + std::string(2'000'000, 'N') + "."),
       {"more than 1000000 values on the stack"},
       ErrorKind::limit},
      {"67", raw("X" + u32(0xFFFFFFFF) + "abc."), {"4294967295 bytes", "4 that are left"}},
      {"67 long",
       raw("\x8a\xFF"
           "abc."),
       {"255 bytes", "left"}},
      {"68 short storage",
       value(tensor(size, stride, integer(0), storage(integer(5)))),
       {"size [2, 3]", "storage of 5 elements"}},
      {"68 stride", value(tensor(size, tuple({"K\x04", "K\x01"}))), {"stride [4, 1]", "storage of 6 elements"}},
      {"68 negative stride", value(tensor(size, tuple({integer(-3), "K\x01"}))), {"a stride with -3"}},
      {"68 negative size", value(tensor(tuple({integer(-2), "K\x03"}))), {"a size with -2"}},
      {"68 offset", value(tensor(size, stride, integer(1))), {"offset 1", "storage of 6 elements"}},
      {"68 negative offset", value(tensor(size, stride, integer(-1))), {"offset -1"}},
      {"68 huge offset", value(tensor(size, stride, long_integer(INT64_MAX))), {"offset 9223372036854775807"}},
      {"68 empty, offset beyond",
       value(tensor(tuple({"K" + std::string(1, '\0')}), tuple({"K\x01"}), integer(7))),
       {"offset 7"}},
      {"68 rank", value(tensor(size, tuple({"K\x01"}))), {"1 strides", "2"}},
      {"68 65 dimensions",
       value(tensor(tuple(std::vector<std::string>(65, "K\x01")))),
       {"65 dimensions", "at most 64"}},
      {"69 size", value(tensor(tuple({long_integer(INT64_MAX), "K\x03"}))), {"2^63"}},
      {"69 bytes", value(tensor(tuple({long_integer(INT64_MAX / 2), "K\x01"}))), {"2^63"}},
      {"69 stride", value(tensor(size, tuple({long_integer(INT64_MAX), long_integer(INT64_MAX)}))), {"stride"}},
      {"69 storage", value(tensor(size, stride, integer(0), storage(long_integer(INT64_MAX)))), {"2^63"}},
      {"69 long integer", value("\x8a\x09" + std::string(9, 'x')), {"integer of 9 bytes"}},
      {"70 dtype",
       value(tensor(size, stride, integer(0), storage(integer(6), "DoubleStorage"))),
       {"tensor \"w\"", "24 bytes", "48", "DoubleStorage"}},
      {"70 longer record",
       value(tensor(tuple({"K\x02"}), tuple({"K\x01"}), integer(0), storage(integer(2)))),
       {"tensor \"w\"", "24 bytes", "8"}},
      {"70 no record",
       value(tensor(size, stride, integer(0), storage(integer(6), "FloatStorage", "9"))),
       {"tensor \"w\"", "\"archive/data/9\""}},
      {"70 record path",
       value(tensor(size, stride, integer(0), storage(integer(6), "FloatStorage", "../data/0"))),
       {"tensor \"w\"", "no record"}},
      {"72 sparse", value(global("torch._utils", "_rebuild_sparse_tensor")), {"_rebuild_sparse_tensor"}},
      {"72 quantised", value(global("torch._utils", "_rebuild_qtensor")), {"_rebuild_qtensor"}},
      {"72 meta",
       value(global("torch._utils", "_rebuild_meta_tensor_no_storage")),
       {"_rebuild_meta_tensor_no_storage"}},
      {"72 quantised storage", value(global("torch", "QInt8Storage")), {"QInt8Storage"}},
      {"74 protocol 5", archive_of(std::string("\x80\x05") + good_pickle.substr(2)), {"protocol 5", "protocol 2"}},
      {"74 bytearray", raw("\x96" + std::string(8, '\0') + "."), {"0x96"}},
      {"74 stack global", raw(text("os") + text("system") + "\x93."), {"0x93"}},
      {"74 inst", raw("(ios\nsystem\n."), {"0x69"}},
      {"74 obj", raw("(cos\nsystem\no."), {"\"os system\""}},
      {"74 newobj", raw(")\x81."), {"0x81"}},
      {"74 ext", raw("\x82\x01."), {"0x82"}},
      {"75", archive_of(good_pickle + "N."), {"2 bytes after the end"}},
      {"no stop", archive_of(good_pickle.substr(0, good_pickle.size() - 1)), {"the end of the pickle"}},
      {"nothing left", raw("."), {"0 values"}},
      {"two values", raw("NN."), {"2 values"}},
      {"empty pickle", archive_of(""), {"an empty pickle"}},
      {"no protocol", archive_of(good_pickle.substr(2)), {"no protocol mark"}},
      {"global without end", raw("c" + std::string(1000, 'a')), {"a name without an end"}},
      {"not a dict", raw("]."), {"a list", "a state dict"}},
      {"entries",
       archive_of(pickle_of({text("a"), tensor(), text("b"), "K\x01", text("c"), text("x")})),
       {"2 defects", "entry \"b\"", "an integer", "entry \"c\"", "a string"}},
      {"key", archive_of(pickle_of({"K\x01", tensor()})), {"a key that is an integer"}},
      {"name twice", archive_of(pickle_of({text("w"), tensor(), text("w"), tensor()})), {"tensor \"w\"", "twice"}},
      {"escape codes", archive_of(pickle_of({text("a"), tensor(), text("\x1b[31m"), "N"})), {"\\x1b[31m"}},
  };
}

void require_refused(const std::vector<Row>& rows) {
  const TempDir folder;
  const std::filesystem::path path = folder / "pytorch_model.bin";
  for (const Row& row : rows) {
    lisa::test::write_text(path, row.content);
    CHECK(lisa::test::broken_promises({.row = row.id,
                                       .kind = row.kind,
                                       .file = "pytorch_model.bin",
                                       .words = row.words,
                                       .unchanged = folder.path(),
                                       .input_bytes = row.content.size()},
                                      [&] { static_cast<void>(lisa::open_tensor_file(path)); }) == "");
  }
}

lisa::TensorFile open(const TempDir& folder, const std::string& content) {
  lisa::test::write_text(folder / "f.bin", content);
  return lisa::open_tensor_file(folder / "f.bin");
}

}  // namespace

TEST_CASE("bad zip archives are refused with file, record and reason") { require_refused(zip_rows()); }

TEST_CASE("bad pickles are refused with file, byte and reason, and nothing in them runs") {
  require_refused(pickle_rows());
}

TEST_CASE("a sound archive is read: place, shape and strides of each tensor") {
  const TempDir folder;
  const std::string content = archive_of(good_pickle);
  const lisa::TensorFile file = open(folder, content);
  REQUIRE(file.tensors.size() == 1);
  CHECK(file.tensors[0].name == "w");
  CHECK(file.tensors[0].begin == content.find(data24));
  CHECK(file.tensors[0].end == file.tensors[0].begin + 24);
  CHECK(file.tensors[0].shape == std::vector<std::int64_t>{2, 3});
  CHECK(file.tensors[0].strides == std::vector<std::int64_t>{3, 1});
  CHECK(file.warnings.empty());
}

TEST_CASE("archives from before torch 2.1 have no byteorder record") {
  const TempDir folder;
  CHECK(open(folder, archive_with([](auto& records) { records.erase(records.begin() + 1); })).tensors.size() == 1);
}

TEST_CASE("shared storages, views, parameters and tensors without elements are read (row 71)") {
  const TempDir folder;
  const std::string transposed = tensor(tuple({"K\x03", "K\x02"}), tuple({"K\x01", "K\x03"}));
  const std::string tail = tensor(tuple({"K\x02"}), tuple({"K\x01"}), integer(4));
  const std::string parameter = global("torch._utils", "_rebuild_parameter") + tuple({tensor(), "\x88", hooks}) + "R";
  const std::string empty = tensor(tuple({"K\x05", "K" + std::string(1, '\0')}), tuple({"K\x01", "K\x01"}), integer(6));
  const lisa::TensorFile file =
      open(folder, archive_of(pickle_of({text("w"), tensor(), text("t"), transposed, text("tail"), tail, text("p"),
                                         parameter, text("none"), empty})));
  REQUIRE(file.tensors.size() == 5);
  const std::uint64_t begin = file.tensors[0].begin;
  CHECK(file.tensors[1].begin == begin);
  CHECK(file.tensors[1].strides == std::vector<std::int64_t>{1, 3});
  CHECK(file.tensors[2].begin == begin + 16);
  CHECK(file.tensors[2].end == begin + 24);
  CHECK(file.tensors[3].begin == begin);
  CHECK(file.tensors[4].begin == file.tensors[4].end);
}

TEST_CASE("a state dict may be nested, carry attributes, or have the prefix of DataParallel (row 73)") {
  const TempDir folder;
  const std::string inner = "}(" + text("w") + tensor() + "u";
  for (const std::string name : {"model", "state_dict", "module"}) {
    const lisa::TensorFile file = open(folder, archive_of(pickle_of({text("epoch"), "K\x07", text(name), inner})));
    REQUIRE(file.tensors.size() == 1);
    CHECK(file.tensors[0].name == "w");
    REQUIRE(file.warnings.size() == 1);
    CHECK(file.warnings[0].find("f.bin: took the tensors of entry \"" + name + "\"; 1 other") != std::string::npos);
  }
  const std::string attributes =
      "\x80\x02" + hooks + "(" + text("w") + tensor() + "u}" + text("_metadata") + hooks + "sb.";
  CHECK(open(folder, archive_of(attributes)).tensors.size() == 1);

  const lisa::TensorFile parallel =
      open(folder, archive_of(pickle_of({text("module.w"), tensor(), text("module.v"), tensor()})));
  CHECK(parallel.tensors.at(0).name == "w");
  CHECK(parallel.tensors.at(1).name == "v");
  REQUIRE(parallel.warnings.size() == 1);
  CHECK(parallel.warnings[0].find("module.") != std::string::npos);
  CHECK(open(folder, archive_of(pickle_of({text("module.w"), tensor(), text("v"), tensor()}))).tensors.at(0).name ==
        "module.w");
}

TEST_CASE("every truncation and every flipped bit of a small archive gives an error or the same tensors") {
  std::vector<std::byte> values(12);
  const TempDir folder;
  const std::filesystem::path path = folder / "small.bin";
  lisa::stage_torch_file(path, {{.name = "w", .dtype = lisa::StoredDtype::f16, .shape = {2, 3}}},
                         [&](const lisa::StoredTensor&, const lisa::ByteSink& sink) { sink(values); })
      .commit();
  const std::string good = lisa::test::read_text(path);
  const lisa::TensorFile whole = lisa::open_tensor_file(path);
  const lisa::StoredTensor expected = whole.tensors.at(0);
  for (std::size_t length = 0; length < good.size(); ++length) {
    lisa::test::write_text(path, good.substr(0, length));
    CHECK_THROWS_AS(static_cast<void>(lisa::open_tensor_file(path)), lisa::Error);
  }
  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    lisa::test::write_text(path, bad);
    try {
      const lisa::TensorFile file = lisa::open_tensor_file(path);
      // Accepted: bits that mean nothing (dates, versions, padding). The CRC covers all of the content.
      REQUIRE(file.tensors.size() == 1);
      REQUIRE(file.tensors[0].name == expected.name);
      REQUIRE(file.tensors[0].begin == expected.begin);
      REQUIRE(file.tensors[0].shape == expected.shape);
      REQUIRE((file.tensors[0].dtype == expected.dtype));
    } catch (const lisa::Error& error) {
      ++refused;
      REQUIRE(std::string(error.what()).find("small.bin") != std::string::npos);
    }
  }
  CHECK(refused > good.size() * 4);
}
