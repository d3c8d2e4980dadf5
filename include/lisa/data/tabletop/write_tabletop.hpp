#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/json_lines.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/tabletop/data_set.hpp"
#include "lisa/data/tabletop/pictures.hpp"
#include "lisa/data/tabletop/questions.hpp"
#include "lisa/data/tabletop/write_parts.hpp"
#include "lisa/data/tabletop/write_reason_seg.hpp"
#include "lisa/data/tabletop/write_refer_seg.hpp"
#include "lisa/data/tabletop/write_semantic.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/write_png.hpp"
#include "lisa/text/image_placeholder.hpp"

namespace lisa {

namespace tabletop {

/// LLaVA-Instruct's layout below `root`: conversations in words about the training pictures that `write_coco_stuff`
/// writes. The image stands before or after the first question, as in the original.
inline void write_llava_instruct(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  constexpr std::uint64_t set = 100;
  constexpr int most_exchanges = 3;
  Json file = Json::array();
  for (const Picture& picture : pictures) {
    if (!picture.training) continue;
    Random random = picture_random(picture, set);
    Json turns = Json::array();
    const auto say = [&](const char* who, std::string words) {
      Json& turn = turns.emplace_back(Json::object());
      turn["from"] = who;
      turn["value"] = std::move(words);
    };
    const auto count = random.between(1, most_exchanges);
    while (static_cast<std::int64_t>(turns.size()) < 2 * count) {
      const std::optional<Question> asked =
          make_question(picture.scene(), random.chance(0.5) ? Group::facts : Group::sight, picture.style, random);
      if (!asked) continue;
      const std::string image(image_placeholder);
      const std::string& words = asked->exchanges[0].question;
      const bool first = turns.empty();
      say("human", !first ? words : random.chance(0.5) ? image + "\n" + words : words + "\n" + image);
      say("gpt", asked->exchanges[0].answer);
    }
    Json& item = file.emplace_back(Json::object());
    item["id"] = picture.stem;
    item["image"] = picture.file_name();
    item["conversations"] = std::move(turns);
  }
  write_json(root / "llava_dataset" / "llava_instruct_150k.json", file);
}

/// The project's own JSON-lines layout: `root`/tabletop/train.jsonl and val.jsonl with the questions of
/// `tabletop_data_set`, pictures as PNG files, masks as run lengths.
inline void write_json_lines(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  const std::filesystem::path folder = root / "tabletop";
  made_folder(folder / "images");
  JsonLinesWriter training(folder / "train.jsonl"), validation(folder / "val.jsonl");
  for (const Picture& picture : pictures) {
    Sample sample;
    const std::string image = "images/" + picture.stem + ".png";
    sample.id = picture.stem;
    for (const auto& [group, question] : picture.asked.questions)
      sample.dialogues.push_back(dialogue_of(picture.scene(), group, question));
    write_png(folder / image, picture.scene().image);
    (picture.training ? training : validation).add(image_record(sample, image));
  }
  training.commit();
  validation.commit();
}

/// All objects of the pictures, for baselines that answer with one: `root`/tabletop/objects/objects.jsonl, lines of
/// the JSON-lines layout, one for each name that a picture has in the layouts. A folder of its own keeps it from being
/// taken for a data set.
inline void write_object_lists(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  JsonLinesWriter lists(made_folder(root / "tabletop" / "objects") / "objects.jsonl");
  for (const Picture& picture : pictures) {
    Dialogue dialogue{{{"What lies here?", ""}}, {}, ""};
    for (const BitMask& object : picture.objects) {
      dialogue.exchanges[0].answer += dialogue.masks.empty() ? "[SEG]" : " [SEG]";
      dialogue.masks.push_back(label_mask(object));
    }
    for (const std::string& name : {picture.stem, refer_detail::coco_name(picture), refer_detail::clef_name(picture)})
      lists.add(image_record({name, {}, {dialogue}}, "../images/" + picture.stem + ".png"));
  }
  lists.commit();
}

}  // namespace tabletop

/// Writes scenes of the tabletop world as data sets in every layout that LISA is trained and evaluated on, below its
/// data folder `root`: ReasonSeg, RefCLEF, RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO, ADE20K, COCO-Stuff, Mapillary Vistas,
/// PACO-LVIS, PASCAL-Part, LLaVA-Instruct, and the project's own JSON lines in tabletop/, with lists of all objects.
/// Pictures are JPEG files, the last one's PNG files; masks are exact but for the holes of ReasonSeg's outlines.
/// @param training    becomes the sets' training splits
/// @param validation  their validation splits
/// @throws IoError when `root` is not empty or the system refuses; InputError for settings out of range
inline void write_tabletop(const std::filesystem::path& root, const TabletopSettings& training,
                           const TabletopSettings& validation) {
  using namespace tabletop;
  for (const TabletopSettings* settings : {&training, &validation})
    if (settings->scenes < 1 || settings->scenes > 1'000'000)
      throw InputError("tabletop", found_expected(std::to_string(settings->scenes) + " scenes", "1 to 1000000"));
  std::vector<Picture> pictures;
  add_pictures(training, true, pictures);
  add_pictures(validation, false, pictures);
  made_folder(root);
  std::error_code code;
  if (!std::filesystem::is_empty(root, code) || code)
    throw IoError(shown_path(root), "", code ? code.message() : "found files, expected an empty folder");
  write_reason_seg(root, pictures);
  write_refer_seg(root, pictures);
  write_ade20k(root, pictures);
  write_coco_stuff(root, pictures);
  write_mapillary(root, pictures);
  write_paco_lvis(root, pictures);
  write_pascal_part(root, pictures);
  write_llava_instruct(root, pictures);
  write_json_lines(root, pictures);
  write_object_lists(root, pictures);
}

}  // namespace lisa
