// torch-free
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lisa/checkpoint/checkpoint_folder.hpp"
#include "lisa/checkpoint/sharded_writer.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/ordinary_user.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

namespace fs = std::filesystem;
using lisa::ErrorKind;
using lisa::Json;
using lisa::StoredTensor;
using lisa::TensorFileFormat;
using lisa::test::TempDir;

namespace {

const std::string index_name = "model.safetensors.index.json";
const std::string first = "model-00001-of-00002.safetensors";
const std::string second = "model-00002-of-00002.safetensors";

StoredTensor tensor(const std::string& name) { return {.name = name, .dtype = lisa::StoredDtype::f32, .shape = {2}}; }

void fill(const StoredTensor& tensor, const lisa::ByteSink& sink) {
  sink(std::vector<std::byte>(*lisa::byte_count(tensor.shape, tensor.dtype), std::byte{1}));
}

void write_shard(const fs::path& path, const std::vector<std::string>& names) {
  std::vector<StoredTensor> tensors;
  for (const std::string& name : names) tensors.push_back(tensor(name));
  fs::remove_all(path);
  lisa::stage_safetensors(path, tensors, {}, fill).commit();
}

/// A folder with tensors a and b in the first shard, c in the second.
void write_checkpoint(const fs::path& folder) {
  write_shard(folder / first, {"a", "b"});
  write_shard(folder / second, {"c"});
  lisa::test::write_text(
      folder / index_name,
      Json{{"metadata", {{"total_size", 24}}}, {"weight_map", {{"a", first}, {"b", first}, {"c", second}}}}.dump());
}

void write_index(const fs::path& folder, const Json& weight_map) {
  lisa::test::write_text(folder / index_name,
                         Json{{"metadata", {{"total_size", 24}}}, {"weight_map", weight_map}}.dump());
}

struct Row {
  std::string id;
  std::function<void(const fs::path&)> spoil;
  std::string file;
  std::vector<std::string> words;
  std::optional<ErrorKind> kind = ErrorKind::format;
};

/// Maps tensor c to this shard name.
std::function<void(const fs::path&)> c_in(const std::string& shard) {
  return [shard](const fs::path& folder) { write_index(folder, {{"a", first}, {"b", first}, {"c", shard}}); };
}

std::vector<Row> rows() {
  return {
      {"35", [](const fs::path& f) { fs::remove(f / second); }, index_name, {second, "no such file"}},
      {"37", [](const fs::path& f) { write_shard(f / second, {"x"}); }, index_name, {"weight_map.c", second}},
      {"38",
       [](const fs::path& f) { write_shard(f / second, {"a", "c"}); },
       index_name,
       {"tensor \"a\"", first, second}},
      {"38 in the other shard",
       [](const fs::path& f) {
         write_shard(f / first, {"a", "b", "c"});
         write_shard(f / second, {"x"});
       },
       index_name,
       {"weight_map.c", second}},
      {"39", c_in("../../etc/passwd"), index_name, {"weight_map.c", "\"../../etc/passwd\""}},
      {"39 parent", c_in(".."), index_name, {"weight_map.c", "\"..\""}},
      {"39 inside, by a path", c_in("x/../" + second), index_name, {"weight_map.c"}},
      {"39 NUL", c_in(second + std::string(1, '\0')), index_name, {"weight_map.c", "\\x00"}},
      {"40", c_in("/etc/passwd"), index_name, {"weight_map.c", "\"/etc/passwd\""}},
      {"41",
       [](const fs::path& f) {
         fs::remove(f / second);
         fs::create_symlink("/etc/passwd", f / second);
       },
       second,
       {"\"/etc/passwd\"", "inside the checkpoint's folder"}},
      {"41 loop",
       [](const fs::path& f) {
         fs::remove(f / second);
         fs::create_symlink(second, f / second);
       },
       second,
       {"cannot open"},
       ErrorKind::io},
      {"42", c_in(""), index_name, {"weight_map.c", "\"\""}},
      {"43 directory",
       [](const fs::path& f) {
         fs::remove(f / second);
         fs::create_directory(f / second);
       },
       second,
       {"a directory", "a regular file"},
       ErrorKind::io},
      {"43 FIFO",
       [](const fs::path& f) {
         fs::remove(f / second);
         REQUIRE(::mkfifo((f / second).c_str(), 0600) == 0);
       },
       second,
       {"a FIFO", "a regular file"},
       ErrorKind::io},
      {"45 value",
       [](const fs::path& f) { write_index(f, {{"a", first}, {"b", 7}, {"c", nullptr}}); },
       index_name,
       {"2 defects", "weight_map.b", "7", "weight_map.c", "null"}},
      {"45 no weight_map",
       [](const fs::path& f) { lisa::test::write_text(f / index_name, "{}"); },
       index_name,
       {"weight_map", "no such field"}},
      {"45 array", [](const fs::path& f) { write_index(f, Json::array()); }, index_name, {"weight_map", "array"}},
      {"45 empty", [](const fs::path& f) { write_index(f, Json::object()); }, index_name, {"weight_map", "no tensors"}},
      {"45 no object",
       [](const fs::path& f) { lisa::test::write_text(f / index_name, "[]"); },
       index_name,
       {"array", "an object"}},
      {"45 name twice",
       [](const fs::path& f) {
         lisa::test::write_text(f / index_name, R"({"weight_map":{"a":")" + first + R"(","a":")" + second + "\"}}");
       },
       index_name,
       {"weight_map.a", "twice"}},
      {"46",
       [](const fs::path& f) { fs::resize_file(f / index_name, 200'000'000); },
       index_name,
       {"200000000 bytes", "at most"},
       ErrorKind::limit},
      {"48 index",
       [](const fs::path& f) {
         lisa::test::write_text(f / index_name, "version https://git-lfs.github.com/spec/v1\n");
       },
       index_name,
       {"Git LFS"}},
      {"48 shard",
       [](const fs::path& f) { lisa::test::write_text(f / second, "version https://git-lfs.github.com/spec/v1\n"); },
       second,
       {"Git LFS"}},
      {"49 index", [](const fs::path& f) { lisa::test::write_text(f / index_name, "<html>"); }, index_name, {"HTML"}},
      {"49 shard", [](const fs::path& f) { lisa::test::write_text(f / second, "<!DOCTYPE html>"); }, second, {"HTML"}},
      {"50",
       c_in("model-00003-of-00002.safetensors"),
       index_name,
       {"weight_map.c", "model-00003-of-00002.safetensors", "from 1 to 2"}},
      {"50 zero", c_in("model-00000-of-00002.safetensors"), index_name, {"weight_map.c", "from 1 to 2"}},
      {"50 counts", c_in("model-00002-of-00003.safetensors"), index_name, {"weight_map.c", "one number of shards"}},
      {"51 shard", c_in("Model-00001-of-00002.safetensors"), index_name, {"weight_map.c", "one spelling"}},
      {"51 tensor",
       [](const fs::path& f) { write_index(f, {{"a", first}, {"b", first}, {"A", second}}); },
       index_name,
       {"\"A\"", "case only"}},
      {"empty folder",
       [](const fs::path& f) {
         for (const std::string& name : {first, second, index_name}) fs::remove(f / name);
       },
       "",
       {"no checkpoint file", "pytorch_model.bin"},
       ErrorKind::io},
  };
}

std::vector<std::string> names_of(const lisa::CheckpointContent& content) {
  std::vector<std::string> names;
  for (const lisa::TensorFile& file : content.files)
    for (const StoredTensor& tensor : file.tensors) names.push_back(tensor.name);
  return names;
}

bool mentions(const std::vector<std::string>& warnings, const std::vector<std::string>& words) {
  for (const std::string& warning : warnings) {
    bool all = true;
    for (const std::string& word : words) all = all && warning.find(word) != std::string::npos;
    if (all) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("bad checkpoint folders are refused with the file and entry at fault") {
  for (const Row& row : rows()) {
    const TempDir folder;
    write_checkpoint(folder.path());
    row.spoil(folder.path());
    CHECK(lisa::test::broken_promises({.row = row.id,
                                       .kind = row.kind,
                                       .file = row.file,
                                       .words = row.words,
                                       .unchanged = row.id == "46" ? fs::path() : folder.path()},
                                      [&] { static_cast<void>(lisa::open_checkpoint(folder.path())); }) == "");
  }
}

TEST_CASE("missing and unreadable files are named (row 52)") {
  const TempDir folder;
  CHECK(lisa::test::broken_promises(
            {.row = "missing", .kind = ErrorKind::io, .file = "nowhere.bin", .words = {"cannot open"}},
            [&] { static_cast<void>(lisa::open_checkpoint(folder / "nowhere.bin")); }) == "");
  const auto denied = [](const std::string& row, const fs::path& path, const std::string& what) {
    CHECK(lisa::test::broken_promises(
              {.row = row, .kind = ErrorKind::io, .file = "model.safetensors", .words = {what, "Permission denied"}},
              [&] {
                const lisa::test::OrdinaryUser user;
                static_cast<void>(lisa::open_checkpoint(path));
              }) == "");
  };
  write_shard(folder / "model.safetensors", {"a"});
  fs::permissions(folder.path(), fs::perms(0755));
  fs::permissions(folder / "model.safetensors", fs::perms::none);
  denied("52 file", folder.path(), "cannot open");
  fs::create_directory(folder / "closed");
  write_shard(folder / "closed" / "model.safetensors", {"a"});
  fs::permissions(folder / "closed", fs::perms(0444));
  denied("52 folder without x", folder / "closed", "cannot look for it");
  fs::permissions(folder / "closed", fs::perms::owner_all);
}

TEST_CASE("a sharded checkpoint is read from its folder or its index") {
  const TempDir folder;
  write_checkpoint(folder.path());
  for (const fs::path& path : {folder.path(), folder / index_name}) {
    const lisa::CheckpointContent content = lisa::open_checkpoint(path);
    CHECK(names_of(content) == std::vector<std::string>{"a", "b", "c"});
    CHECK(content.warnings.empty());
  }
}

TEST_CASE("shards beside the index, a wrong total and unlisted tensors are reported (rows 36, 44)") {
  const TempDir folder;
  write_checkpoint(folder.path());
  write_shard(folder / "model-00003-of-00003.safetensors", {"z"});
  write_index(folder.path(), {{"a", first}, {"c", second}});
  Json index = lisa::read_json(folder / index_name);
  index["metadata"]["total_size"] = 23;
  lisa::test::write_text(folder / index_name, index.dump());
  const lisa::CheckpointContent content = lisa::open_checkpoint(folder.path());
  CHECK(mentions(content.warnings, {"model-00003-of-00003.safetensors", "not listed"}));
  CHECK(mentions(content.warnings, {index_name, "total_size", "23", "24"}));
  CHECK(mentions(content.warnings, {index_name, "1 tensors", "does not list"}));
  CHECK(content.warnings.size() == 3);
}

TEST_CASE("of several checkpoints in one folder the documented one is read, and the others named (row 47)") {
  const TempDir folder;
  write_checkpoint(folder.path());
  write_shard(folder / "model.safetensors", {"whole"});
  lisa::stage_torch_file(folder / "pytorch_model.bin", {tensor("bin")}, fill).commit();
  write_shard(folder / "adapter_model.safetensors", {"adapter"});
  const lisa::CheckpointContent content = lisa::open_checkpoint(folder.path());
  CHECK(names_of(content) == std::vector<std::string>{"whole"});
  CHECK(mentions(content.warnings, {index_name, "model.safetensors is preferred"}));
  CHECK(mentions(content.warnings, {"pytorch_model.bin", "model.safetensors is preferred"}));
  CHECK(mentions(content.warnings, {"adapter_model.safetensors", "model.safetensors is preferred"}));
  fs::remove(folder / "model.safetensors");
  CHECK(names_of(lisa::open_checkpoint(folder.path())) == std::vector<std::string>{"a", "b", "c"});
  fs::remove(folder / index_name);
  CHECK(names_of(lisa::open_checkpoint(folder.path())) == std::vector<std::string>{"bin"});
  fs::remove(folder / "pytorch_model.bin");
  CHECK(names_of(lisa::open_checkpoint(folder.path())) == std::vector<std::string>{"adapter"});
}

TEST_CASE("files are told apart by content, not by name") {
  const TempDir folder;
  lisa::stage_torch_file(folder / "model.safetensors", {tensor("t")}, fill).commit();
  CHECK((lisa::open_checkpoint(folder.path()).files.at(0).format == TensorFileFormat::torch_zip));
  write_shard(folder / "sam.pth", {"s"});
  CHECK((lisa::open_checkpoint(folder / "sam.pth").files.at(0).format == TensorFileFormat::safetensors));
}

TEST_CASE("a snapshot of the Hugging Face cache may link to its blobs, and to nothing else") {
  const TempDir cache;
  const fs::path snapshot = cache / "models--x/snapshots/0123";
  fs::create_directories(snapshot);
  fs::create_directories(cache / "models--x/blobs");
  write_shard(cache / "models--x/blobs/abc", {"a"});
  fs::create_symlink("../../blobs/abc", snapshot / "model.safetensors");
  CHECK(names_of(lisa::open_checkpoint(snapshot)) == std::vector<std::string>{"a"});
  write_shard(cache / "models--x/other", {"a"});
  fs::remove(snapshot / "model.safetensors");
  fs::create_symlink("../../other", snapshot / "model.safetensors");
  CHECK_THROWS_AS(static_cast<void>(lisa::open_checkpoint(snapshot)), lisa::FormatError);
}

TEST_CASE("every truncation and every flipped bit of a small index gives an error or the same tensors") {
  const TempDir folder;
  write_checkpoint(folder.path());
  const fs::path path = folder / index_name;
  const std::string good = lisa::test::read_text(path);
  for (std::size_t length = 0; length < good.size(); ++length) {
    lisa::test::write_text(path, good.substr(0, length));
    CHECK_THROWS_AS(static_cast<void>(lisa::open_checkpoint(path)), lisa::Error);
  }
  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    lisa::test::write_text(path, bad);
    try {
      const std::vector<std::string> names = names_of(lisa::open_checkpoint(path));
      REQUIRE(names == std::vector<std::string>{"a", "b", "c"});
    } catch (const lisa::Error&) {
      ++refused;
    }
  }
  CHECK(refused > good.size() * 6);
}

TEST_CASE("shards are planned in order, filled up to the limit, and named as transformers names them") {
  std::vector<StoredTensor> tensors{tensor("a"), tensor("b"), tensor("c")};  // 8 bytes each
  tensors[1].shape = {100};
  const auto shards = lisa::plan_shards(tensors, TensorFileFormat::torch_zip, 20);
  REQUIRE(shards.size() == 3);
  CHECK(shards[1].file == "pytorch_model-00002-of-00003.bin");
  CHECK(lisa::plan_shards(tensors, TensorFileFormat::safetensors, 416).size() == 1);
  CHECK(lisa::plan_shards(tensors, TensorFileFormat::safetensors, 416)[0].file == "model.safetensors");
  CHECK(lisa::plan_shards(tensors, TensorFileFormat::safetensors, 415).size() == 2);
}

TEST_CASE("a failed sharded write leaves no file behind") {
  const TempDir folder;
  const auto fail_late = [](const StoredTensor& wanted, const lisa::ByteSink& sink) {
    if (wanted.name == "c")
      sink(std::vector<std::byte>(7));
    else
      fill(wanted, sink);
  };
  for (const TensorFileFormat format : {TensorFileFormat::safetensors, TensorFileFormat::torch_zip}) {
    CHECK(lisa::test::broken_promises(
              {.row = "short data",
               .kind = ErrorKind::input,
               .words = {"tensor \"c\"", "7 bytes", "8"},
               .unchanged = folder.path()},
              [&] { lisa::write_sharded(folder.path(), {tensor("a"), tensor("c")}, format, 8, fail_late); }) == "");
    CHECK(lisa::test::broken_promises(
              {.row = "name twice",
               .kind = ErrorKind::input,
               .words = {"tensor \"a\"", "twice"},
               .unchanged = folder.path()},
              [&] { lisa::write_sharded(folder.path(), {tensor("a"), tensor("a")}, format, 8, fill); }) == "");
  }
  CHECK(fs::is_empty(folder.path()));
}
