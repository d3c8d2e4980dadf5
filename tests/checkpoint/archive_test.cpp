#include "lisa/checkpoint/archive.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "lisa/checkpoint/save.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

namespace fs = std::filesystem;
using lisa::test::TempDir;

namespace {

const std::string golden = LISA_TEST_DATA "/golden";

std::string shape(const at::Tensor& tensor) { return lisa::shape_text(tensor.sizes().vec()); }

/// One tensor of every element type, odd sizes, rank 0 and no elements among them.
lisa::NamedTensors every_dtype() {
  lisa::NamedTensors tensors;
  for (const lisa::StoredDtypeInfo& type : lisa::stored_dtypes)
    tensors.emplace_back("t." + std::string(type.safetensors_name),
                         at::arange(1, 16, at::kLong).view({3, 5}).to(lisa::scalar_type(type.dtype)));
  tensors.emplace_back("scalar", at::full({}, 2.5));
  tensors.emplace_back("none", at::full({3, 0, 2}, 1));
  tensors.emplace_back("transposed", at::arange(6, at::kFloat).view({2, 3}).t());
  return tensors;
}

/// Names of the tensors that differ in value, dtype or shape, or are missing.
std::string differences(const lisa::TensorArchive& found, const lisa::NamedTensors& expected) {
  std::string names = found.tensors.size() == expected.size() ? "" : "count ";
  for (const auto& [name, value] : expected) {
    const auto tensor = found.tensors.find(name);
    if (tensor == found.tensors.end() || tensor->second.value.scalar_type() != value.scalar_type() ||
        !at::equal(tensor->second.value, value))
      names += name + " ";
  }
  return names;
}

lisa::NamedTensors recorded_model() {
  lisa::NamedTensors tensors;
  for (const auto& [name, tensor] : lisa::read_archive(golden + "/model_a").tensors)
    tensors.emplace_back(name, tensor.value);
  return tensors;
}

}  // namespace

TEST_CASE("the recorded checkpoints are read with their names, shapes and dtypes") {
  const lisa::TensorArchive model = lisa::read_archive(golden + "/model_a");
  CHECK(model.tensors.size() == 241);
  CHECK(model.warnings.empty());
  const lisa::ArchivedTensor& embedding = model.tensors.at("model.embed_tokens.weight");
  CHECK(shape(embedding.value) == "[704, 64]");
  CHECK((embedding.value.scalar_type() == at::kFloat));
  CHECK(fs::path(embedding.file).filename() == "pytorch_model.bin");

  const lisa::TensorArchive clip = lisa::read_archive(golden + "/clip_a/pytorch_model.bin", {.check_finite = true});
  CHECK(clip.tensors.size() == 78);
  CHECK(clip.tensors.at("logit_scale").value.dim() == 0);

  const lisa::TensorArchive answers = lisa::read_archive(golden + "/a1/a1.safetensors");
  CHECK(shape(answers.tensors.at("input_ids").value) == "[1, 82]");
  CHECK((answers.tensors.at("input_ids").value.scalar_type() == at::kLong));
}

TEST_CASE("every element type survives writing and reading in both formats, aligned") {
  const TempDir folder;
  const lisa::NamedTensors tensors = every_dtype();
  lisa::write_safetensors(folder / "t.safetensors", tensors, {{"format", "pt"}});
  lisa::write_torch_file(folder / "t.bin", tensors);
  for (const std::string name : {"t.safetensors", "t.bin"}) {
    const lisa::TensorArchive archive = lisa::read_archive(folder / name);
    CHECK(differences(archive, tensors) == "");
    for (const auto& [tensor, entry] : archive.tensors)
      CHECK(reinterpret_cast<std::uintptr_t>(entry.value.const_data_ptr()) % entry.value.element_size() == 0);
  }
  CHECK(lisa::read_archive(folder / "t.safetensors").metadata.at("format") == "pt");
  CHECK(lisa::test::read_text(folder / "t.safetensors")[8] == '{');
}

TEST_CASE("equal tensors give equal bytes") {
  const TempDir folder;
  for (const std::string name : {"1", "2"}) {
    lisa::write_safetensors(folder / (name + ".safetensors"), every_dtype(), {{"b", "2"}, {"a", "1"}});
    lisa::write_torch_file(folder / (name + ".bin"), every_dtype());
  }
  CHECK((lisa::test::read_text(folder / "1.safetensors") == lisa::test::read_text(folder / "2.safetensors")));
  CHECK((lisa::test::read_text(folder / "1.bin") == lisa::test::read_text(folder / "2.bin")));
}

TEST_CASE("the recorded checkpoint survives conversion and sharding bit by bit") {
  const lisa::NamedTensors model = recorded_model();
  std::vector<lisa::StoredTensor> described;
  for (const auto& [name, tensor] : model) described.push_back(lisa::describe(name, tensor));
  std::size_t asked = 0;
  const lisa::TensorSource source = [&](const lisa::StoredTensor& wanted) {
    ++asked;
    return lisa::read_archive(golden + "/model_a", {.verify_crc = false}).tensors.at(wanted.name).value;
  };
  for (const lisa::TensorFileFormat format : {lisa::TensorFileFormat::safetensors, lisa::TensorFileFormat::torch_zip})
    for (const std::uint64_t limit : {std::uint64_t{400'000}, std::uint64_t{1} << 30}) {
      const TempDir folder;
      asked = 0;
      const auto names = lisa::write_sharded_tensors(folder.path(), described, format, limit, source);
      CHECK(asked == model.size());
      CHECK((limit > 1'000'000 ? names.size() == 1 : names.size() > 3));
      const lisa::TensorArchive archive = lisa::read_archive(folder.path());
      CHECK(differences(archive, model) == "");
      CHECK(archive.warnings.empty());
    }
}

TEST_CASE("tensors are views of the file that outlive the archive; writing to them leaves the file alone") {
  const TempDir folder;
  const fs::path path = folder / "t.safetensors";
  lisa::write_safetensors(path, {{"w", at::full({4}, 1.0F)}});
  const std::string before = lisa::test::read_text(path);
  at::Tensor kept;
  {
    const lisa::TensorArchive archive = lisa::read_archive(path);
    kept = archive.tensors.at("w").value;
    const auto offset = static_cast<const std::byte*>(kept.const_data_ptr()) - archive.files.at(0)->data();
    CHECK(offset == static_cast<std::ptrdiff_t>(before.size()) - 16);
  }
  fs::remove(path);
  CHECK(kept.sum().item<float>() == 4.0F);
  lisa::test::write_text(path, before);
  const lisa::TensorArchive again = lisa::read_archive(path);
  again.tensors.at("w").value.mul_(3);
  CHECK(again.tensors.at("w").value.sum().item<float>() == 12.0F);
  CHECK(lisa::test::read_text(path) == before);
}

TEST_CASE("data that the file places at an odd address is copied, not loaded from there (row 32)") {
  const TempDir folder;
  std::string header = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  for (int blanks = 0; blanks < 4; ++blanks, header += ' ') {
    const std::uint64_t length = header.size();
    const float values[2] = {1.5F, -2.0F};
    std::string file(reinterpret_cast<const char*>(&length), 8);
    file += header + std::string(reinterpret_cast<const char*>(values), 8);
    lisa::test::write_text(folder / "odd.safetensors", file);
    const at::Tensor w = lisa::read_archive(folder / "odd.safetensors").tensors.at("w").value;
    CHECK(reinterpret_cast<std::uintptr_t>(w.const_data_ptr()) % 4 == 0);
    CHECK(w[0].item<float>() == 1.5F);
    CHECK(w[1].item<float>() == -2.0F);
  }
}

TEST_CASE("NaN and infinite weights load by default and are refused by name on request (row 31)") {
  const TempDir folder;
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
    at::Tensor bad = at::full({3, 4}, 1.0, type);
    bad[2][1] = std::numeric_limits<double>::quiet_NaN();
    lisa::write_torch_file(folder / "w.bin", {{"good", at::full({9}, 1.0, type)}, {"bad", bad}});
    CHECK(lisa::read_archive(folder / "w.bin").tensors.size() == 2);
    CHECK(lisa::test::broken_promises(
              {.row = "31",
               .kind = lisa::ErrorKind::format,
               .file = "w.bin",
               .words = {"tensor \"bad\"", "[2, 1]"},
               .unchanged = folder.path()},
              [&] { static_cast<void>(lisa::read_archive(folder / "w.bin", {.check_finite = true})); }) == "");
  }
}

TEST_CASE("values that no checkpoint holds are refused before anything is written") {
  const TempDir folder;
  const auto refused = [&](const lisa::NamedTensors& tensors, const std::string& word) {
    CHECK(
        lisa::test::broken_promises(
            {.row = word, .kind = lisa::ErrorKind::input, .words = {"tensor \"w\"", word}, .unchanged = folder.path()},
            [&] { lisa::write_safetensors(folder / "w.safetensors", tensors); }) == "");
  };
  refused({{"w", at::full({2}, 1, at::kComplexFloat)}}, "ComplexFloat");
  refused({{"w", at::Tensor()}}, "no value");
  refused({{"w", at::full({2}, 1)}, {"w", at::full({2}, 1)}}, "twice");
}

TEST_CASE("a checkpoint that is cut while its tensors are in use is reported, and the process lives (row 34)") {
  const TempDir folder;
  const lisa::TruncationGuard guard;
  lisa::write_safetensors(folder / "w.safetensors", {{"w", at::full({1 << 18}, 1.0F)}});
  const lisa::TensorArchive archive = lisa::read_archive(folder / "w.safetensors");
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::truncate((folder / "w.safetensors").c_str(), 4096) == 0 ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WEXITSTATUS(status) == 0);
  CHECK(archive.tensors.at("w").value.sum().item<float>() < (1 << 18));
  CHECK(lisa::test::broken_promises(
            {.row = "34", .kind = lisa::ErrorKind::io, .file = "w.safetensors", .words = {"shorter"}},
            [&] { archive.require_intact(); }) == "");
}
