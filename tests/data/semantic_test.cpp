// torch-free
#include "lisa/data/semantic.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lisa/data/ade20k.hpp"
#include "lisa/data/coco_stuff.hpp"
#include "lisa/data/mapillary.hpp"
#include "lisa/data/mixture.hpp"
#include "lisa/data/semantic_sets.hpp"
#include "lisa/image/encode_png.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
namespace fs = std::filesystem;

namespace {

using Labels = std::vector<std::uint8_t>;

void write_bytes(const fs::path& path, const std::vector<std::uint8_t>& bytes) {
  fs::create_directories(path.parent_path());
  test::write_text(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// A picture and a label map of one row each. Readers tell PNG by its content, whatever the name.
void write_pair(const fs::path& picture, const fs::path& labels, const Labels& row) {
  const ImageSize size{1, static_cast<int>(row.size())};
  write_bytes(picture, encode_png(make_image(size)));
  write_bytes(labels, encode_grey_png(row, size));
}

void write_ade20k(const fs::path& root, const std::string& stem, const Labels& row) {
  write_pair(root / "ade20k/images/training" / (stem + ".jpg"), root / "ade20k/annotations/training" / (stem + ".png"),
             row);
}

Sample read(const DataSet& set, std::size_t index, std::uint64_t seed = 1) {
  Random random({seed});
  return set.read(index, random);
}

/// Class asked for -> labels of its mask.
std::map<std::string, Labels> masks_by_class(const Sample& sample) {
  std::map<std::string, Labels> masks;
  for (const Dialogue& dialogue : sample.dialogues) {
    REQUIRE(dialogue.exchanges.size() == 1);
    REQUIRE(dialogue.masks.size() == 1);
    CHECK(dialogue.exchanges[0].question.find(dialogue.group) != std::string::npos);
    CHECK(dialogue.exchanges[0].answer.find("[SEG]") != std::string::npos);
    masks[dialogue.group] = dialogue.masks[0].labels;
  }
  return masks;
}

constexpr std::uint8_t none = LabelMask::ignored;
constexpr SemanticTraining with_ignored{.ignored_is_background = false};

}  // namespace

TEST_CASE("ADE20K: label 0 is no class, the others start at 1, as the original's in-place shift") {
  const LabelClasses classes = ade20k_labels();
  for (int label = 0; label < 256; ++label) {
    auto shifted = static_cast<std::uint8_t>(label);  // uint8 arithmetic of utils/sem_seg_dataset.py
    if (shifted == 0) shifted = 255;
    --shifted;
    if (shifted == 254) shifted = 255;
    CHECK(classes[static_cast<std::size_t>(label)] == shifted);
  }
  CHECK(ade20k_classes.front() == "wall");
  CHECK(ade20k_classes.back() == "flag");

  const test::TempDir root;
  write_ade20k(root.path(), "b", {0, 1, 1, 150, 255});
  write_ade20k(root.path(), "a", {3, 3, 3});
  const DataSet set = semantic_training(ade20k_files(root.path(), "training"), with_ignored);
  CHECK(set.name == "ade20k|training");
  CHECK(set.size == 2);
  CHECK(read(set, 0).id == "ade20k|training|a.jpg");
  CHECK(masks_by_class(read(set, 0)) == std::map<std::string, Labels>{{"sky", {1, 1, 1}}});
  CHECK(masks_by_class(read(set, 1)) ==
        std::map<std::string, Labels>{{"wall", {none, 1, 1, 0, none}}, {"flag", {none, 0, 0, 1, none}}});
}

TEST_CASE("COCO-Stuff: 28 classes are not asked for, and their pixels are ignored") {
  const LabelClasses classes = coco_stuff_labels();
  CHECK(std::count(classes.begin(), classes.begin() + 182, none) == 28);
  CHECK(coco_stuff_classes[0] == "person");
  CHECK(coco_stuff_classes[95] == "building-other");
  CHECK(coco_stuff_classes[181] == "wood");
  CHECK(classes[95] == none);
  CHECK(classes[255] == none);
  CHECK(classes[181] == 181);

  const test::TempDir root;
  write_pair(root / "coco/train2017/1.jpg", root / "cocostuff/train2017/1.png", {0, 95, 181, 255, 0});
  write_bytes(root / "coco/train2017/2.jpg", encode_png(make_image({1, 1})));  // a picture without labels is no sample
  const DataSet set = semantic_training(coco_stuff_files(root.path(), "train2017"), with_ignored);
  CHECK(set.size == 1);
  CHECK(masks_by_class(read(set, 0)) ==
        std::map<std::string, Labels>{{"person", {1, none, 0, none, 1}}, {"wood", {0, none, 1, none, 0}}});
}

TEST_CASE("Mapillary: class names come from its configuration, and void classes may be asked for") {
  const test::TempDir root;
  fs::create_directories(root / "mapillary");
  test::write_text(root / "mapillary/config_v2.0.json",
                   R"({"labels": [{"readable": "Bird", "color": [1, 2, 3]}, {"readable": "Ego Vehicle"}]})");
  write_pair(root / "mapillary/training/images/1.jpg", root / "mapillary/training/v2.0/labels/1.png", {0, 1, 255});
  const DataSet set = semantic_training(mapillary_files(root.path(), "training"), with_ignored);
  CHECK(masks_by_class(read(set, 0)) ==
        std::map<std::string, Labels>{{"bird", {1, 0, none}}, {"ego vehicle", {0, 1, none}}});
}

TEST_CASE("at most three classes are drawn, without replacement, each with the same chance") {
  const test::TempDir root;
  write_ade20k(root.path(), "a", {1, 2, 3, 4, 5});
  const DataSet set = semantic_training(ade20k_files(root.path(), "training"), with_ignored);
  std::map<std::string, int> counts;
  std::set<std::string> questions, given;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const Sample sample = read(set, 0, seed);
    CHECK(sample.dialogues.size() == 3);
    CHECK(masks_by_class(sample).size() == 3);
    for (const Dialogue& dialogue : sample.dialogues) {
      ++counts[dialogue.group];
      if (dialogue.group == "wall") questions.insert(dialogue.exchanges[0].question);
      given.insert(dialogue.exchanges[0].answer);
    }
  }
  CHECK(counts.size() == 5);
  for (const auto& [name, count] : counts) CHECK(count == doctest::Approx(300).epsilon(0.2));
  CHECK(questions == std::set<std::string>{"Can you segment the wall in this image?",
                                           "Please segment the wall in this image.",
                                           "What is wall in this image? Please respond with segmentation mask.",
                                           "What is wall in this image? Please output segmentation mask."});
  CHECK(given.size() == answers.size());
  const SemanticFiles files = ade20k_files(root.path(), "training");
  CHECK(read(semantic_training(files, {.questions = 5}), 0).dialogues.size() == 5);
  CHECK_THROWS_AS(static_cast<void>(semantic_training(files, {.questions = 0})), InputError);
}

TEST_CASE("a picture without a class is replaced by another one, which `random` alone decides") {
  const test::TempDir root;
  write_ade20k(root.path(), "a", {0, 0});
  write_ade20k(root.path(), "b", {1, 0});
  write_ade20k(root.path(), "c", {2, 0});
  const DataSet set = semantic_training(ade20k_files(root.path(), "training"), with_ignored);
  std::set<std::string> ids;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CHECK(read(set, 0, seed).id == read(set, 0, seed).id);
    ids.insert(read(set, 0, seed).id);
  }
  CHECK(ids == std::set<std::string>{"ade20k|training|b.jpg", "ade20k|training|c.jpg"});
}

TEST_CASE("training takes pixels without a class for background, as the original does") {
  const test::TempDir root;
  write_ade20k(root.path(), "a", {0, 1, 2, 255});
  const DataSet set = semantic_training(ade20k_files(root.path(), "training"));
  CHECK(masks_by_class(read(set, 0)) ==
        std::map<std::string, Labels>{{"wall", {0, 1, 0, 0}}, {"building", {0, 0, 1, 0}}});
}

TEST_CASE("an evaluation asks for every class of every picture and replaces none") {
  const test::TempDir root;
  write_ade20k(root.path(), "a", {0, 0, 0, 0, 0});
  write_ade20k(root.path(), "b", {5, 4, 3, 2, 0});
  const DataSet set = semantic_evaluation(ade20k_files(root.path(), "training"));
  CHECK(read(set, 0).id == "ade20k|training|a.jpg");
  CHECK(read(set, 0).dialogues.empty());
  const Sample sample = read(set, 1);
  CHECK(masks_by_class(sample) == std::map<std::string, Labels>{{"tree", {1, 0, 0, 0, none}},
                                                                {"floor", {0, 1, 0, 0, none}},
                                                                {"sky", {0, 0, 1, 0, none}},
                                                                {"building", {0, 0, 0, 1, none}}});
  CHECK(sample.dialogues[0].exchanges[0] ==
        Exchange{"What is building in this image? Please output segmentation mask.", "[SEG]."});
}

TEST_CASE("sets are opened by the names of LISA's options") {
  const test::TempDir root;
  write_ade20k(root.path(), "a", {1});
  write_pair(root / "coco/train2017/1.jpg", root / "cocostuff/train2017/1.png", {0});
  write_pair(root / "coco/val2017/1.jpg", root / "cocostuff/val2017/1.png", {0});
  const std::vector<DataSet> sets = semantic_training_sets(root.path(), "ade20k||cocostuff");
  REQUIRE(sets.size() == 2);
  CHECK(sets[0].name == "ade20k|training");
  CHECK(sets[1].name == "cocostuff|train2017");
  CHECK(semantic_evaluation_set(root.path(), "cocostuff|val2017").name == "cocostuff|val2017");
  for (const char* wrong : {"", "ade20k||", "ade"})
    CHECK_THROWS_AS(static_cast<void>(semantic_training_sets(root.path(), wrong)), InputError);
  CHECK_THROWS_AS(static_cast<void>(semantic_training_sets(root.path(), "ade20k|cocostuff")),
                  IoError);  // no such split
  for (const char* wrong : {"", "ade20k", "ade20k|", "ade|val", "a|b|c"})
    CHECK_THROWS_AS(static_cast<void>(semantic_evaluation_set(root.path(), wrong)), InputError);
  const std::vector<MixturePart> parts = mixture_parts("sem_seg||vqa", "9,0.5", [&](const std::string& name) {
    return name == "sem_seg" ? sets : std::vector<DataSet>();
  });
  REQUIRE(parts.size() == 2);
  CHECK(parts[0].name == "sem_seg");
  CHECK(parts[0].weight == 9);
  CHECK(parts[0].sets.size() == 2);
  CHECK(parts[1].weight == 0.5);
  for (const char* wrong : {"1", "1,2,3", "1,", "1,x", "1,2 "})
    CHECK_THROWS_AS(static_cast<void>(mixture_parts("a||b", wrong, [&](const std::string&) { return sets; })),
                    InputError);
}

TEST_CASE("broken semantic data are refused in words") {
  const test::TempDir root;
  const auto refused = [&](ErrorKind kind, const std::string& file, const std::vector<std::string>& words,
                           const std::function<void()>& attempt) {
    return test::broken_promises({.row = file, .kind = kind, .file = file, .words = words, .unchanged = root.path()},
                                 attempt);
  };
  const auto open = [&] { static_cast<void>(ade20k_files(root.path(), "training")); };
  CHECK(refused(ErrorKind::io, "ade20k", {"cannot list"}, open) == "");
  fs::create_directories(root / "ade20k/images/training");
  fs::create_directories(root / "ade20k/annotations/training");
  CHECK(refused(ErrorKind::format, "images/training", {"no *.jpg"}, open) == "");
  write_bytes(root / "ade20k/images/training/x.jpg", encode_png(make_image({1, 1})));
  write_bytes(root / "ade20k/images/training/y.jpg", encode_png(make_image({1, 1})));
  CHECK(refused(ErrorKind::format, "annotations/training", {"2 defects", "x.png: missing", "y.png: missing"}, open) ==
        "");

  const test::TempDir empty;
  write_ade20k(empty.path(), "a", {0});
  const DataSet nothing = semantic_training(ade20k_files(empty.path(), "training"));
  CHECK(refused(ErrorKind::format, "annotations/training", {"without a class"}, [&] { read(nothing, 0); }) == "");

  const test::TempDir wrong;
  write_ade20k(wrong.path(), "a", {1, 151});
  write_ade20k(wrong.path(), "b", {1, 2});
  write_bytes(wrong / "ade20k/images/training/b.jpg", encode_png(make_image({2, 1})));
  write_ade20k(wrong.path(), "c", {1, 2});
  test::write_text(wrong / "ade20k/images/training/c.jpg", "no picture");
  const DataSet set = semantic_training(ade20k_files(wrong.path(), "training"));
  CHECK(refused(ErrorKind::format, "a.png", {"label 151", "150 classes"}, [&] { read(set, 0); }) == "");
  CHECK(refused(ErrorKind::mismatch, "b.jpg", {"1x2 pixels", "2x1"}, [&] { read(set, 1); }) == "");
  CHECK(refused(ErrorKind::format, "c.jpg", {"unknown content"}, [&] { read(set, 2); }) == "");
}

TEST_CASE("a wrong Mapillary configuration is reported with every wrong entry") {
  const test::TempDir root;
  const auto refused = [&](const std::string& text, const std::vector<std::string>& words) {
    test::write_text(root / "config.json", text);
    return test::broken_promises({.row = text, .kind = ErrorKind::format, .file = "config.json", .words = words},
                                 [&] { static_cast<void>(read_mapillary_classes(root / "config.json")); });
  };
  CHECK(refused("[]", {"labels"}) == "");
  CHECK(refused(R"({"labels": {}})", {"labels", "a list"}) == "");
  CHECK(refused(R"({"labels": []})", {"0 entries"}) == "");
  CHECK(refused(R"({"labels": [{"readable": 1}, {"readable": "a"}, {}, 3]})",
                {"3 defects", "labels[0].readable", "labels[2].readable", "labels[3].readable"}) == "");
}
