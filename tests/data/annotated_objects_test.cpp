// torch-free
#include "lisa/data/annotated_objects.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lisa/data/paco_lvis.hpp"
#include "lisa/data/pascal_part.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/encode_png.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
namespace fs = std::filesystem;

namespace {

void write_json(const fs::path& path, const Json& json) {
  fs::create_directories(path.parent_path());
  test::write_text(path, json.dump());
}

void write_picture(const fs::path& path, ImageSize size) {
  fs::create_directories(path.parent_path());
  const std::vector<std::uint8_t> bytes = encode_png(make_image(size));
  test::write_text(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// A rectangle of whole pixels as COCO's polygon.
Json box(int x, int y, int width, int height) {
  return Json::array({{x, y, x + width, y, x + width, y + height, x, y + height}});
}

Json annotation(int id, int image, int category, Json segmentation) {
  return {{"id", id}, {"image_id", image}, {"category_id", category}, {"segmentation", std::move(segmentation)}};
}

/// Two pictures: one with a whole mug, its handle, a dog's head and an outline without points, one with nothing.
Json two_pictures() {
  return {{"images",
           {{{"id", 5}, {"file_name", "train2017/5.jpg"}, {"height", 4}, {"width", 6}},
            {{"id", 6}, {"file_name", "train2017/6.jpg"}, {"height", 4}, {"width", 6}}}},
          {"categories",
           {{{"id", 1}, {"name", "mug_(drinking)"}},
            {{"id", 2}, {"name", " mug_(drinking):handle_(of it)\n"}},
            {{"id", 3}, {"name", "Dog:head"}}}},
          {"annotations",
           {annotation(1, 5, 1, box(0, 0, 3, 4)), annotation(2, 5, 2, box(3, 1, 2, 2)),
            annotation(3, 5, 3, box(0, 3, 6, 1)), annotation(4, 6, 3, Json::array())}}};
}

std::size_t foreground_pixels(const LabelMask& mask) {
  return static_cast<std::size_t>(std::count(mask.labels.begin(), mask.labels.end(), 1));
}

}  // namespace

TEST_CASE("categories are objects or parts of objects, without the remark in brackets") {
  CHECK(parse_object_name("bottle") == ObjectName{"bottle", ""});
  CHECK(parse_object_name("mug_(drinking)") == ObjectName{"mug", ""});
  CHECK(parse_object_name(" mug_(a):handle_(b)\n") == ObjectName{"mug", "handle"});
  CHECK(parse_object_name("hair_dryer:on/off") == ObjectName{"hair_dryer", "on/off"});
  for (const char* bad : {"", "  ", ":", "a:", ":b", "a:b:c", "_(a)"})
    CHECK_THROWS_AS(static_cast<void>(parse_object_name(bad)), InputError);
}

TEST_CASE("a part is called in two ways, as often the one as the other") {
  Random random({1});
  std::map<std::string, int> counts;
  for (int i = 0; i < 1000; ++i) ++counts[drawn_phrase({"dog", "head"}, random)];
  CHECK(counts.size() == 2);
  CHECK(counts["dog head"] == doctest::Approx(500).epsilon(0.15));
  CHECK(counts["the head of the dog"] == doctest::Approx(500).epsilon(0.15));
  CHECK(drawn_phrase({"dog", ""}, random) == "dog");
}

TEST_CASE("PACO-LVIS and PASCAL-Part ask for single annotations of the pictures that have some") {
  const test::TempDir root;
  write_json(root / "vlpart/paco/annotations/paco_lvis_v1_train.json", two_pictures());
  write_picture(root / "coco/train2017/5.jpg", {4, 6});
  Json pascal = two_pictures();
  pascal["images"][0]["file_name"] = "2008_1.jpg";
  write_json(root / "vlpart/pascal_part/train.json", pascal);
  write_picture(root / "vlpart/pascal_part/VOCdevkit/VOC2010/JPEGImages/2008_1.jpg", {4, 6});

  for (const auto& [set, id] :
       {std::pair(object_training(paco_lvis_objects(root.path(), "train")), "paco_lvis|train|train2017/5.jpg"),
        {object_training(pascal_part_objects(root.path(), "train")), "pascal_part|train|2008_1.jpg"}}) {
    CHECK(set.size == 1);
    Random random({3});
    const Sample sample = set.read(0, random);
    CHECK(sample.id == id);
    CHECK(sample.image.size() == ImageSize{4, 6});
    std::multiset<std::pair<std::string, std::size_t>> drawn;
    for (const Dialogue& dialogue : sample.dialogues) {
      REQUIRE(dialogue.masks.size() == 1);
      drawn.insert({dialogue.group, foreground_pixels(dialogue.masks[0])});
    }
    CHECK(drawn == std::multiset<std::pair<std::string, std::size_t>>{{"object", 12}, {"part", 4}, {"part", 6}});
  }
  Random random({3});
  const AnnotatedObjects paco = paco_lvis_objects(root.path(), "train");
  CHECK(object_training(paco, 1).read(0, random).dialogues.size() == 1);
  CHECK_THROWS_AS(static_cast<void>(object_training(paco, 0)), InputError);
  const Sample evaluated = object_evaluation(paco).read(0, random);
  REQUIRE(evaluated.dialogues.size() == 3);
  CHECK(evaluated.dialogues[2].exchanges[0] ==
        Exchange{"What is dog head in this image? Please output segmentation mask.", "[SEG]."});
  CHECK(foreground_pixels(evaluated.dialogues[2].masks[0]) == 6);
}

TEST_CASE("questions about a part name it in lower case") {
  const test::TempDir root;
  Json json = two_pictures();
  json["annotations"] = Json::array({annotation(3, 5, 3, box(0, 3, 6, 1))});
  write_json(root / "vlpart/paco/annotations/paco_lvis_v1_train.json", json);
  write_picture(root / "coco/train2017/5.jpg", {4, 6});
  const DataSet set = object_training(paco_lvis_objects(root.path(), "train"));
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Random random({seed});
    const std::string question = set.read(0, random).dialogues.at(0).exchanges.at(0).question;
    const bool named =
        question.find("dog head") != std::string::npos || question.find("the head of the dog") != std::string::npos;
    CHECK_MESSAGE(named, question);
  }
}

TEST_CASE("broken object annotations are refused in words") {
  const test::TempDir root;
  const fs::path file = root / "vlpart/paco/annotations/paco_lvis_v1_train.json";
  const auto refused = [&](const Json& json, ErrorKind kind, const std::string& name,
                           const std::vector<std::string>& words) {
    write_json(file, json);
    return test::broken_promises({.row = name, .kind = kind, .file = name, .words = words}, [&] {
      Random random({1});
      static_cast<void>(object_training(paco_lvis_objects(root.path(), "train")).read(0, random));
    });
  };
  Json names = two_pictures();
  names["categories"][0]["name"] = "a:b:c";
  names["images"][1]["file_name"] = "../../secret.jpg";
  CHECK(refused(names, ErrorKind::format, "paco_lvis_v1_train.json",
                {"2 defects", "categories[0].name", "a:b:c", "images[1].file_name", "secret"}) == "");
  Json hollow = two_pictures();
  hollow["annotations"] = Json::array();
  CHECK(refused(hollow, ErrorKind::format, "paco_lvis_v1_train.json", {"no outlined object"}) == "");
  CHECK(refused(two_pictures(), ErrorKind::io, "5.jpg", {"No such file"}) == "");
  write_picture(root / "coco/train2017/5.jpg", {5, 6});
  CHECK(refused(two_pictures(), ErrorKind::mismatch, "5.jpg", {"6x5 pixels", "6x4", "paco_lvis_v1_train.json"}) == "");
}
