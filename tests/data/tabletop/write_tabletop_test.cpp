// torch-free
#include "lisa/data/tabletop/write_tabletop.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/json_lines.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/opened_data_set.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/reason_seg.hpp"
#include "lisa/data/refer_seg.hpp"
#include "lisa/data/semantic_sets.hpp"
#include "lisa/data/tabletop/data_set.hpp"
#include "lisa/data/vqa.hpp"
#include "lisa/text/seg_mark.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::tabletop;

namespace {

constexpr std::size_t training_scenes = 12, validation_scenes = 8;

TabletopSettings training_settings() {
  TabletopSettings settings;
  settings.scenes = training_scenes;
  settings.shares = tabletop_mask_shares();
  return settings;
}
TabletopSettings validation_settings() {
  TabletopSettings settings = training_settings();
  settings.split = TabletopSplit::scenes;
  settings.scenes = validation_scenes;
  return settings;
}

/// One folder for all tests of this file: it takes a while to write.
const std::filesystem::path& written() {
  static const test::TempDir folder;
  static const bool once = (write_tabletop(folder / "data", training_settings(), validation_settings()), true);
  static_cast<void>(once);
  static const std::filesystem::path root = folder / "data";
  return root;
}

/// The scene behind a sample: the last number in its name counts training's scenes, then validation's, from 1.
Scene scene_of(const Sample& sample) {
  std::string name = sample.id.substr(0, sample.id.find_last_of('.'));
  const std::size_t end = name.find_last_of("0123456789") + 1;
  std::size_t begin = end;
  while (begin > 0 && std::isdigit(static_cast<unsigned char>(name[begin - 1])) != 0) --begin;
  const std::size_t number = std::stoul(name.substr(begin, end - begin));
  REQUIRE(number >= 1);
  REQUIRE(number <= training_scenes + validation_scenes);
  if (number <= training_scenes) return asked_scene(training_settings(), number - 1).scene;
  return asked_scene(validation_settings(), number - 1 - training_scenes).scene;
}

/// Calls `check(sample, scene, dialogue)` for every dialogue of a set, and looks at what all have in common.
void for_each_dialogue(const DataSet& set, std::size_t pictures,
                       const std::function<void(const Sample&, const Scene&, const Dialogue&)>& check) {
  CAPTURE(set.name);
  CHECK(set.size <= pictures);
  CHECK(set.size + 2 >= pictures);  // a picture may show none of a set's classes
  for (std::size_t index = 0; index < set.size; ++index) {
    Random random{index};
    const Sample sample = set.read(index, random);
    CAPTURE(sample.id);
    const Scene scene = scene_of(sample);
    REQUIRE(sample.image.size() == scene.image.size());
    double difference = 0;  // JPEG changes pictures a little
    for (std::size_t i = 0; i < scene.image.pixels.size(); ++i)
      difference += std::abs(int{sample.image.pixels[i]} - int{scene.image.pixels[i]});
    CHECK(difference < 5.0 * static_cast<double>(scene.image.pixels.size()));
    CHECK_FALSE(sample.dialogues.empty());
    for (const Dialogue& dialogue : sample.dialogues) {
      std::size_t marks = 0;
      for (const Exchange& exchange : dialogue.exchanges) marks += count_segs(exchange.answer);
      CHECK(marks == dialogue.masks.size());
      CAPTURE(dialogue.exchanges[0].question);
      check(sample, scene, dialogue);
    }
  }
}

/// The objects whose pixels a mask holds, if it holds all of them and nothing else.
std::vector<std::size_t> objects_in(const Scene& scene, const LabelMask& mask) {
  std::vector<std::size_t> objects;
  for (std::size_t i = 0; i < scene.objects.size(); ++i)
    for (std::size_t pixel = 0; pixel < scene.owners.size(); ++pixel)
      if (scene.owners[pixel] == i + 1 && mask.labels[pixel] == 1) {
        objects.push_back(i);
        break;
      }
  CHECK(mask_of(scene, objects) == mask);
  return objects;
}

bool asks_for(const Dialogue& dialogue, std::string_view what) {
  return dialogue.exchanges[0].question.find(std::string(what) + " in this image") != std::string::npos;
}

std::string named(const PlacedObject& object) {
  return std::string(colors[object.color].name) + " " + std::string(kinds[object.kind].name);
}

}  // namespace

TEST_CASE("tabletop files: JSON lines hold the very samples") {
  for (const bool training : {true, false}) {
    const TabletopSettings settings = training ? training_settings() : validation_settings();
    const DataSet made = tabletop_data_set(settings);
    const DataSet read = json_lines_data_set(written() / "tabletop" / (training ? "train.jsonl" : "val.jsonl"));
    REQUIRE(read.size == made.size);
    for (std::size_t index = 0; index < made.size; ++index) {
      Random random{1};
      const Sample a = made.read(index, random), b = read.read(index, random);
      CHECK(a.image == b.image);
      REQUIRE(a.dialogues.size() == b.dialogues.size());
      for (std::size_t i = 0; i < a.dialogues.size(); ++i) {
        CHECK(a.dialogues[i].group == b.dialogues[i].group);
        CHECK(a.dialogues[i].exchanges == b.dialogues[i].exchanges);
        CHECK(a.dialogues[i].masks == b.dialogues[i].masks);
      }
    }
  }
}

TEST_CASE("tabletop files: referring expressions mean the objects that they name") {
  for (const std::string name : {"refclef|unc|", "refcoco|unc|", "refcoco+|unc|", "refcocog|umd|"}) {
    std::size_t named_ones = 0;
    const auto check = [&](const Sample&, const Scene& scene, const Dialogue& dialogue) {
      REQUIRE(dialogue.masks.size() == 1);
      const std::vector<std::size_t> objects = objects_in(scene, dialogue.masks[0]);
      REQUIRE(objects.size() == 1);
      for (std::size_t i = 0; i < scene.objects.size(); ++i)
        if (asks_for(dialogue, named(scene.objects[i]))) {
          ++named_ones;
          CHECK(objects[0] == i);
        }
    };
    for_each_dialogue(refer_training(written(), name + "train").data_set, training_scenes, check);
    for_each_dialogue(refer_evaluation(written(), name + "val").data_set, validation_scenes, check);
    CHECK(named_ones > 5);
  }
}

TEST_CASE("tabletop files: gRefCOCO's expressions mean one object, several or none") {
  std::set<std::string> groups;
  const auto check = [&](const Sample&, const Scene& scene, const Dialogue& dialogue) {
    groups.insert(dialogue.group);
    const std::size_t objects = objects_in(scene, dialogue.masks.at(0)).size();
    CHECK(objects == (dialogue.group == "no target" ? 0
                      : dialogue.group == "one"     ? 1
                                                    : std::max<std::size_t>(2, objects)));
  };
  for_each_dialogue(refer_evaluation(written(), "grefcoco|unc|train").data_set, training_scenes, check);
  for_each_dialogue(refer_evaluation(written(), "grefcoco|unc|val").data_set, validation_scenes, check);
  CHECK(groups == std::set<std::string>{"no target", "one", "several"});
}

TEST_CASE("tabletop files: label maps show kinds and the table") {
  for (const std::string name : {"ade20k|", "cocostuff|", "mapillary|"}) {
    std::set<std::string> classes;
    const auto check = [&](const Sample&, const Scene& scene, const Dialogue& dialogue) {
      classes.insert(dialogue.group);
      const LabelMask& mask = dialogue.masks.at(0);
      for (std::size_t pixel = 0; pixel < scene.owners.size(); ++pixel) {
        const std::uint8_t owner = scene.owners[pixel];
        const std::string_view seen = owner == 0 ? "table" : kinds[scene.objects[owner - 1U].kind].name;
        REQUIRE((mask.labels[pixel] == 1) == (seen == dialogue.group));
      }
    };
    const bool coco = name == "cocostuff|";
    for_each_dialogue(semantic_training_set(written(), name + (coco ? "train2017" : "training")), training_scenes,
                      check);
    for_each_dialogue(semantic_evaluation_set(written(), name + (coco ? "val2017" : "validation")), validation_scenes,
                      check);
    CHECK(classes.count("table") == 1);
    CHECK(classes.size() >= (name == "mapillary|" ? 15 : 3));
  }
}

TEST_CASE("tabletop files: objects and parts lie where they are drawn") {
  for (const std::string name : {"paco_lvis|", "pascal_part|"}) {
    std::set<std::string> groups;
    const auto check = [&](const Sample&, const Scene& scene, const Dialogue& dialogue) {
      groups.insert(dialogue.group);
      const LabelMask& mask = dialogue.masks.at(0);
      if (dialogue.group == "object") {
        CHECK(objects_in(scene, mask).size() == 1);
        return;
      }
      std::set<std::uint8_t> owners;
      std::size_t pixels = 0;
      for (std::size_t pixel = 0; pixel < scene.owners.size(); ++pixel)
        if (mask.labels[pixel] == 1) {
          owners.insert(scene.owners[pixel]);
          ++pixels;
        }
      REQUIRE(owners.size() == 1);
      REQUIRE(*owners.begin() != 0);
      const PlacedObject& object = scene.objects[*owners.begin() - 1U];
      CHECK(pixels < static_cast<std::size_t>(object.visible));
      CHECK(dialogue.exchanges[0].question.find(kinds[object.kind].name) != std::string::npos);
    };
    for_each_dialogue(semantic_training_set(written(), name + "train"), training_scenes, check);
    for_each_dialogue(semantic_evaluation_set(written(), name + "val"), validation_scenes, check);
    CHECK(groups == std::set<std::string>{"object", "part"});
  }
}

TEST_CASE("tabletop files: ReasonSeg's targets are whole objects, what they enclose is ignored") {
  std::set<std::string> groups;
  std::size_t ignored = 0, explained = 0;
  const auto check = [&](const Sample&, const Scene& scene, const Dialogue& dialogue) {
    groups.insert(dialogue.group);
    for (LabelMask mask : dialogue.masks) {
      ignored += static_cast<std::size_t>(std::count(mask.labels.begin(), mask.labels.end(), LabelMask::ignored));
      std::replace(mask.labels.begin(), mask.labels.end(), LabelMask::ignored, std::uint8_t{0});
      const std::vector<std::size_t> objects = objects_in(scene, mask);
      REQUIRE(objects.size() == 1);
      if (dialogue.group == "short") CHECK(asks_for(dialogue, named(scene.objects[objects[0]])));
    }
    explained += dialogue.exchanges[0].answer.size() > 50 || dialogue.masks.empty() ? 1U : 0U;
  };
  for_each_dialogue(reason_seg_training(written(), "ReasonSeg|train").data_set, training_scenes, check);
  for_each_dialogue(reason_seg_evaluation(written(), "ReasonSeg|train").data_set, training_scenes, check);
  for_each_dialogue(reason_seg_evaluation(written(), "ReasonSeg|val").data_set, validation_scenes, check);
  CHECK(groups == std::set<std::string>{"long", "short"});
  CHECK(ignored > 0);
  CHECK(explained > 0);
}

TEST_CASE("tabletop files: LLaVA-Instruct's conversations are words") {
  std::size_t most = 0;
  for_each_dialogue(vqa_training(written()).data_set, training_scenes,
                    [&](const Sample&, const Scene&, const Dialogue& dialogue) {
                      CHECK(dialogue.masks.empty());
                      most = std::max(most, dialogue.exchanges.size());
                    });
  CHECK(most > 1);
}

TEST_CASE("tabletop files: a folder with files, and settings out of range, are refused before anything is written") {
  const test::TempDir folder;
  test::write_text(folder / "mine.txt", "mine");
  CHECK_THROWS_AS(write_tabletop(folder.path(), training_settings(), validation_settings()), IoError);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  TabletopSettings wrong = training_settings();
  wrong.scenes = 0;
  CHECK_THROWS_AS(write_tabletop(folder / "other", wrong, validation_settings()), InputError);
  wrong.scenes = 1;
  wrong.questions = 0;
  CHECK_THROWS_AS(write_tabletop(folder / "other", wrong, validation_settings()), InputError);
  CHECK_FALSE(std::filesystem::exists(folder / "other"));
}
