#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/tabletop/questions.hpp"
#include "lisa/data/tabletop/scene.hpp"

namespace lisa {

/// What a set of tabletop scenes is held out from training by.
enum class TabletopSplit {
  train,         ///< nothing
  scenes,        ///< other scenes of the same kind
  combinations,  ///< kinds in colors in which training never shows them; every mask asked for shows one
  paraphrases,   ///< other scenes, and questions worded as training never words them
};
inline constexpr std::array<std::string_view, 4> tabletop_split_names{"train", "scenes", "combinations", "paraphrases"};

[[nodiscard]] constexpr std::string_view name_of(TabletopSplit split) {
  return tabletop_split_names[static_cast<std::size_t>(split)];
}

/// @throws InputError when there is no such split
[[nodiscard]] inline TabletopSplit tabletop_split_of(std::string_view name) {
  const auto found = std::find(tabletop_split_names.begin(), tabletop_split_names.end(), name);
  if (found == tabletop_split_names.end())
    throw InputError("tabletop", "split " + quoted(name), "expected train, scenes, combinations or paraphrases");
  return static_cast<TabletopSplit>(found - tabletop_split_names.begin());
}

/// A group of questions and how often it is asked, relative to the others.
struct TabletopShare {
  tabletop::Group group = tabletop::Group::name;
  double weight = 1;
};

/// What a model is trained on from scratch: objects named, described and related, and every fact, but facts only in
/// words, never with a mask (the zero-shot setting of the paper).
[[nodiscard]] inline std::vector<TabletopShare> tabletop_pretraining_shares() {
  using tabletop::Group;
  return {{Group::name, 4},   {Group::attribute, 4},  {Group::relation, 3}, {Group::several, 1},
          {Group::absent, 4}, {Group::multi_turn, 1}, {Group::facts, 2},    {Group::sight, 1}};
}

/// What is said in words alone, mostly everything that is there. It shows a vision tower kinds and colors at the cost
/// of the language model only: a scene without masks is not seen by the image encoder.
[[nodiscard]] inline std::vector<TabletopShare> tabletop_description_shares() {
  using tabletop::Group;
  return {{Group::caption, 4}, {Group::sight, 1}, {Group::absent, 0.5}};
}

/// What a model is fine-tuned on: facts answered with masks.
[[nodiscard]] inline std::vector<TabletopShare> tabletop_reasoning_shares() {
  using tabletop::Group;
  return {{Group::reasoning, 1}, {Group::knowledge, 1}, {Group::explanatory, 2}};
}

/// Every group that is answered with masks, alike.
[[nodiscard]] inline std::vector<TabletopShare> tabletop_mask_shares() {
  using tabletop::Group;
  return {{Group::name, 1},       {Group::attribute, 1}, {Group::relation, 1},
          {Group::reasoning, 1},  {Group::knowledge, 1}, {Group::explanatory, 1},
          {Group::multi_turn, 1}, {Group::several, 1},   {Group::absent, 1}};
}

/// A set of tabletop scenes with questions.
struct TabletopSettings {
  tabletop::SceneSettings scene;
  tabletop::QuestionStyle style;  ///< `held_out_wording` is the split's affair
  TabletopSplit split = TabletopSplit::train;
  std::uint64_t seed = 1;
  std::size_t scenes = 100'000;
  int questions = 3;  ///< at most so many different ones about each scene, at least one
  std::vector<TabletopShare> shares = tabletop_pretraining_shares();
};

namespace tabletop {

/// A scene with questions about it.
struct AskedScene {
  Scene scene;
  std::vector<std::pair<Group, Question>> questions;
};

namespace data_set_detail {

inline void require_valid(const TabletopSettings& settings) {
  double total = 0;
  for (const TabletopShare& share : settings.shares) {
    if (!(share.weight >= 0 && share.weight < 1e9))
      throw InputError("tabletop", "weight of group " + quoted(name_of(share.group)),
                       found_expected(std::to_string(share.weight), "0 or more"));
    total += share.weight;
  }
  if (!(total > 0)) throw InputError("tabletop", found_expected("no group of questions", "one with a weight above 0"));
  if (settings.questions < 1 || settings.questions > 64)
    throw InputError("tabletop", found_expected(std::to_string(settings.questions) + " questions a scene", "1 to 64"));
}

/// The wording of the set's split.
[[nodiscard]] inline QuestionStyle style_of(const TabletopSettings& settings) {
  QuestionStyle style = settings.style;
  style.held_out_wording = settings.split == TabletopSplit::paraphrases;
  return style;
}

[[nodiscard]] inline Group pick_group(const std::vector<TabletopShare>& shares, Random& random) {
  double total = 0;
  for (const TabletopShare& share : shares) total += share.weight;
  double left = random.uniform(0, total);
  const TabletopShare* picked = nullptr;
  for (const TabletopShare& share : shares) {
    if (share.weight == 0) continue;
    picked = &share;
    if ((left -= share.weight) < 0) break;
  }
  return picked->group;
}

/// Whether every mask shows a held-out combination, and there is one.
[[nodiscard]] inline bool shows_held_out(const Scene& scene, const Question& question) {
  return !question.targets.empty() &&
         std::all_of(question.targets.begin(), question.targets.end(), [&](const std::vector<std::size_t>& objects) {
           return std::any_of(objects.begin(), objects.end(), [&](std::size_t i) {
             return held_out_combination(scene.objects[i].kind, scene.objects[i].color);
           });
         });
}

[[nodiscard]] inline std::vector<std::pair<Group, Question>> ask(const TabletopSettings& settings, const Scene& scene,
                                                                 Random& random) {
  const QuestionStyle style = style_of(settings);
  std::vector<std::pair<Group, Question>> asked;
  for (int attempt = 0;
       attempt < 12 * settings.questions && asked.size() < static_cast<std::size_t>(settings.questions); ++attempt) {
    const Group group = pick_group(settings.shares, random);
    std::optional<Question> question = make_question(scene, group, style, random);
    if (!question) continue;
    if (settings.split == TabletopSplit::combinations && !shows_held_out(scene, *question)) continue;
    const bool repeated = std::any_of(asked.begin(), asked.end(),
                                      [&](const auto& other) { return other.second.exchanges == question->exchanges; });
    if (!repeated) asked.emplace_back(group, std::move(*question));
  }
  return asked;
}

}  // namespace data_set_detail

/// Scene `index` of the set with its questions: a function of the settings and the index alone. A scene that allows
/// none of the questions wanted is replaced by another.
/// @throws InputError for settings out of range
[[nodiscard]] inline AskedScene asked_scene(const TabletopSettings& settings, std::size_t index) {
  data_set_detail::require_valid(settings);
  const Combinations combinations =
      settings.split == TabletopSplit::combinations ? Combinations::with_held_out : Combinations::training;
  for (std::uint64_t attempt = 0; attempt < 1000; ++attempt) {
    Random random{settings.seed, static_cast<std::uint64_t>(settings.split), index, attempt};
    AskedScene asked{make_scene(settings.scene, combinations, random), {}};
    asked.questions = data_set_detail::ask(settings, asked.scene, random);
    if (!asked.questions.empty()) return asked;
  }
  throw InputError("tabletop", found_expected("groups of which no scene allows a question", "other groups or scenes"));
}

}  // namespace tabletop

/// Pictures of everyday objects on a table with questions about them, drawn when read: sample i is a function of the
/// settings and i alone, and leaves nothing to the stream given to `read`. `Dialogue::group` is the name of a
/// `tabletop::Group`.
/// @throws InputError for settings out of range
[[nodiscard]] inline DataSet tabletop_data_set(const TabletopSettings& settings) {
  tabletop::data_set_detail::require_valid(settings);
  tabletop::scene_detail::require_valid(settings.scene);
  const std::string name = "tabletop|" + std::string(name_of(settings.split));
  return {name, settings.scenes, [settings, name](std::size_t index, Random&) {
            tabletop::AskedScene asked = tabletop::asked_scene(settings, index);
            Sample sample{name + "|" + std::to_string(index), {}, {}};
            for (auto& [group, question] : asked.questions)
              sample.dialogues.push_back(tabletop::dialogue_of(asked.scene, group, std::move(question)));
            sample.image = std::move(asked.scene.image);
            return sample;
          }};
}

}  // namespace lisa
