// torch-free
#include "lisa/data/mixture.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/split_at.hpp"
#include "lisa/data/loader.hpp"
#include "lisa/data/open_data_set.hpp"
#include "lisa/data/semantic_sets.hpp"
#include "lisa/data/tabletop/data_set.hpp"
#include "lisa/data/tabletop/write_tabletop.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/encode_png.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
namespace fs = std::filesystem;

namespace {

void write_bytes(const fs::path& path, const std::vector<std::uint8_t>& bytes) {
  fs::create_directories(path.parent_path());
  test::write_text(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// Eight labelled pictures, of which number 5 is cut off in the middle, and one with an outlined object.
void write_sets(const fs::path& root) {
  constexpr ImageSize size{4, 6};
  const std::vector<std::uint8_t> picture = encode_png(make_image(size));
  for (int i = 0; i < 8; ++i) {
    const std::string stem = std::to_string(i);
    write_bytes(root / "ade20k/images/training" / (stem + ".jpg"), picture);
    const std::vector<std::uint8_t> labels(24, static_cast<std::uint8_t>(i + 1));
    write_bytes(root / "ade20k/annotations/training" / (stem + ".png"), encode_grey_png(labels, size));
  }
  write_bytes(root / "ade20k/images/training/5.jpg", {picture.begin(), picture.begin() + 40});

  write_bytes(root / "coco/train2017/1.jpg", picture);
  const Json objects = Json::parse(R"({
    "images": [{"id": 1, "file_name": "train2017/1.jpg", "height": 4, "width": 6}],
    "categories": [{"id": 1, "name": "mug:handle"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 6, 0, 6, 2, 0, 2]]}]})");
  fs::create_directories(root / "vlpart/paco/annotations");
  test::write_text(root / "vlpart/paco/annotations/paco_lvis_v1_train.json", objects.dump());
}

SampleSource training_mixture(const fs::path& root) {
  TabletopSettings tabletop;
  tabletop.scenes = 50;
  return mixture(mixture_parts("sem_seg||tabletop", "3,1",
                               [&](const std::string& name) -> std::vector<DataSet> {
                                 if (name == "sem_seg") return semantic_training_sets(root, "ade20k||paco_lvis");
                                 return {tabletop_data_set(tabletop)};
                               }),
                 40, 12);
}

/// What came, in order: ids, questions, answers, masks and what was skipped.
std::vector<std::string> transcript(const SampleSource& source, const SamplePlace& start, int threads) {
  Loader<DrawnSample> loader =
      sample_loader(source, start, BrokenSamples::skip, {.threads = threads, .prefetch = 7, .end_epoch = 3});
  std::vector<std::string> lines;
  while (const std::optional<DrawnSample> drawn = loader.next()) {
    std::string line = drawn->sample.id;
    for (const Dialogue& dialogue : drawn->sample.dialogues) {
      for (const Exchange& exchange : dialogue.exchanges) line += "\n" + exchange.question + "\n" + exchange.answer;
      for (const LabelMask& mask : dialogue.masks) {
        CHECK(mask.size == drawn->sample.image.size());
        line += "\n" + std::to_string(std::count(mask.labels.begin(), mask.labels.end(), 1));
      }
    }
    for (const std::string& skipped : drawn->skipped) line += "\nskipped " + skipped;
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

TEST_CASE(
    "a mixture of sets on disk comes the same with any number of threads, again after a resume, past a broken file") {
  const test::TempDir root;
  write_sets(root.path());
  const std::vector<std::string> whole = transcript(training_mixture(root.path()), {0, 0}, 1);
  REQUIRE(whole.size() == 120);
  CHECK(transcript(training_mixture(root.path()), {0, 0}, 4) == whole);
  const std::vector<std::string> rest = transcript(training_mixture(root.path()), {1, 33}, 3);
  CHECK(std::equal(rest.begin(), rest.end(), whole.begin() + 73, whole.end()));

  std::set<std::string> sets;
  std::size_t skipped = 0;
  for (const std::string& line : whole) {
    sets.insert(line.substr(0, line.find('|')));
    CHECK(line.find("ade20k|training|5.jpg") == std::string::npos);
    const std::size_t at = line.find("\nskipped ");
    if (at == std::string::npos) continue;
    ++skipped;
    const std::string message = line.substr(at);
    CHECK_MESSAGE(message.find("ade20k/images/training/5.jpg") != std::string::npos, message);
    CHECK_MESSAGE(message.find("of sem_seg||tabletop") != std::string::npos, message);
  }
  CHECK(sets == std::set<std::string>{"ade20k", "paco_lvis", "tabletop"});
  CHECK(skipped > 0);
}

TEST_CASE("with the policy stop the first broken file ends the reading and is named") {
  const test::TempDir root;
  write_sets(root.path());
  Loader<DrawnSample> loader = sample_loader(training_mixture(root.path()), {0, 0}, BrokenSamples::stop);
  std::string message;
  std::uint64_t place = 0;
  while (message.empty()) {
    place = loader.position().index;
    try {
      static_cast<void>(loader.next());
    } catch (const Error& error) {
      message = error.what();
    }
  }
  CHECK_MESSAGE(message.starts_with("sample " + std::to_string(place) + " of epoch "), message);
  CHECK_MESSAGE(message.find("ade20k/images/training/5.jpg") != std::string::npos, message);
}

TEST_CASE("the original's mixture of its own layouts comes through the loader, each kind by its rate") {
  const test::TempDir folder;
  const fs::path root = folder / "data";
  TabletopSettings training;
  training.scenes = 6;
  training.shares = tabletop_mask_shares();
  TabletopSettings validation = training;
  validation.split = TabletopSplit::scenes;
  validation.scenes = 1;
  write_tabletop(root, training, validation);

  const auto names_of = [](const std::string& part) -> std::vector<std::string> {
    if (part == "sem_seg") return split_at(default_semantic_sets, "||");
    if (part == "refer_seg")
      return {"refclef|unc|train", "refcoco|unc|train", "refcoco+|unc|train", "refcocog|umd|train"};
    return {part == "vqa" ? "vqa|llava_instruct_150k" : "ReasonSeg|train"};
  };
  std::map<std::string, std::string> part_of;  // of each set
  const auto open = [&](const std::string& part) {
    std::vector<DataSet> sets;
    for (const std::string& name : names_of(part)) {
      part_of[name.substr(0, name.find('|'))] = part;
      sets.push_back(open_data_set(root, name, Purpose::training).data_set);
    }
    return sets;
  };
  constexpr std::uint64_t samples = 480;
  const SampleSource source =
      mixture(mixture_parts("sem_seg||refer_seg||vqa||reason_seg", "9,3,3,1", open), samples, 3);
  Loader<DrawnSample> loader = sample_loader(source, {0, 0}, BrokenSamples::stop, {.threads = 2, .end_epoch = 1});
  std::map<std::string, double> counts;
  std::set<std::string> sets;
  while (const std::optional<DrawnSample> drawn = loader.next()) {
    const Sample& sample = drawn->sample;
    const std::string set = sample.id.substr(0, sample.id.find('|'));
    sets.insert(set);
    ++counts[part_of.contains(set) ? part_of[set] : "unknown " + sample.id];
    CHECK(!sample.dialogues.empty());
    CHECK(sample.dialogues.size() <= 3);
    for (const Dialogue& dialogue : sample.dialogues)
      for (const LabelMask& mask : dialogue.masks) CHECK(mask.size == sample.image.size());
  }
  CHECK(sets.size() == part_of.size());
  CHECK(counts.size() == 4);
  // Of 480 draws, three standard deviations are at most 33.
  for (const auto& [part, expected] :
       {std::pair("sem_seg", 270.0), {"refer_seg", 90.0}, {"vqa", 90.0}, {"reason_seg", 30.0}})
    CHECK_MESSAGE(std::abs(counts[part] - expected) < 33, part, " ", counts[part]);
}
