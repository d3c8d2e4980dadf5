#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/tabletop/kinds.hpp"
#include "lisa/data/tabletop/scene.hpp"
#include "lisa/data/tabletop/wording.hpp"
#include "lisa/text/lisa_templates.hpp"

namespace lisa::tabletop {

/// What a question demands. The groups from `name` to `absent` are answered with masks, or with none where nothing is
/// there; `facts` and `sight` in words alone.
enum class Group {
  name,         ///< an object by its kind
  attribute,    ///< by its color, or color and kind
  relation,     ///< by its place or size among the others
  reasoning,    ///< by what one wants to do
  knowledge,    ///< by what it is made of, where it lives, who uses it
  explanatory,  ///< reasoning or knowledge, with the reason in words
  multi_turn,   ///< the second exchange refers to the first
  several,      ///< several objects in one mask, or each in its own
  absent,       ///< nothing in the picture answers to it
  facts,        ///< what kinds are used for, made of, where they live, who uses them
  sight,        ///< colors, kinds, number and presence of the objects
};
inline constexpr std::array<std::string_view, 11> group_names{"name",      "attribute",   "relation",   "reasoning",
                                                              "knowledge", "explanatory", "multi-turn", "several",
                                                              "absent",    "facts",       "sight"};

[[nodiscard]] constexpr std::string_view name_of(Group group) { return group_names[static_cast<std::size_t>(group)]; }

/// @throws InputError when there is no such group
[[nodiscard]] inline Group group_of(std::string_view name) {
  const auto found = std::find(group_names.begin(), group_names.end(), name);
  if (found == group_names.end()) {
    std::string all;
    for (const std::string_view known : group_names) all += (all.empty() ? "" : ", ") + std::string(known);
    throw InputError("tabletop", "group " + quoted(name), "expected one of " + all);
  }
  return static_cast<Group>(found - group_names.begin());
}

/// A conversation about a scene.
struct Question {
  std::vector<Exchange> exchanges;
  std::vector<std::vector<std::size_t>> targets;  ///< for each [SEG] of the answers, the objects that its mask shows
};

/// How questions are put.
struct QuestionStyle {
  bool held_out_wording = false;  ///< paraphrases that never occur in training
  /// Single answers of reasoning and knowledge name the object before its mask, "It is the mug, [SEG].", which is not
  /// the original's wording.
  bool naming_answers = false;
};

namespace question_detail {

/// A scene as questions see it.
struct View {
  const Scene& scene;
  const QuestionStyle& style;
  Random& random;

  [[nodiscard]] const std::vector<PlacedObject>& objects() const { return scene.objects; }
  [[nodiscard]] const Kind& kind(std::size_t object) const { return kinds[objects()[object].kind]; }
  [[nodiscard]] const Color& color(std::size_t object) const { return colors[objects()[object].color]; }
  /// Indices of the objects for which `holds`.
  template <class Holds>
  [[nodiscard]] std::vector<std::size_t> where(Holds holds) const {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < objects().size(); ++i)
      if (holds(i)) found.push_back(i);
    return found;
  }
  [[nodiscard]] bool only_of_its_kind(std::size_t object) const {
    return where([&](std::size_t i) { return objects()[i].kind == objects()[object].kind; }).size() == 1;
  }
  [[nodiscard]] bool only_of_its_color(std::size_t object) const {
    return where([&](std::size_t i) { return objects()[i].color == objects()[object].color; }).size() == 1;
  }
  [[nodiscard]] std::string ask(const Wording& wording, std::string_view x) const {
    return question(wording, style.held_out_wording, x, random);
  }
};

/// A question, or nothing when the scene does not allow it.
using Maker = std::optional<Question> (*)(const View&);

[[nodiscard]] inline std::optional<std::size_t> one_of(const std::vector<std::size_t>& objects, Random& random) {
  if (objects.empty()) return std::nullopt;
  return random.pick(objects);
}
[[nodiscard]] inline std::optional<std::size_t> one_kind_alone(const View& view) {
  return one_of(view.where([&](std::size_t i) { return view.only_of_its_kind(i); }), view.random);
}
[[nodiscard]] inline std::optional<std::size_t> one_color_alone(const View& view) {
  return one_of(view.where([&](std::size_t i) { return view.only_of_its_color(i); }), view.random);
}

[[nodiscard]] inline std::string color_and_kind(const View& view, std::size_t object) {
  return std::string(view.color(object).name) + " " + std::string(view.kind(object).name);
}
[[nodiscard]] inline std::string color_object(const View& view, std::size_t object) {
  return std::string(view.color(object).name) + " object";
}

/// A class and the objects that it means.
[[nodiscard]] inline Question class_question(const View& view, std::string_view name,
                                             std::vector<std::size_t> objects) {
  return {{{view.ask(ask_class, name), answer(ask_class, name)}}, {std::move(objects)}};
}
/// Only words.
[[nodiscard]] inline Question text_question(const View& view, const Wording& wording, std::string_view x,
                                            std::string_view y) {
  return {{{view.ask(wording, x), answer(wording, x, y)}}, {}};
}
/// A sentence that asks for a mask, as LISA puts it.
[[nodiscard]] inline std::string with_request(const View& view, std::string_view sentence) {
  return fill_slot(view.random.pick(long_questions), sentence_slot, sentence);
}

[[nodiscard]] inline std::optional<Question> by_kind(const View& view) {
  const auto object = one_kind_alone(view);
  if (!object) return std::nullopt;
  return class_question(view, view.kind(*object).name, {*object});
}

[[nodiscard]] inline std::optional<Question> by_color(const View& view) {
  const auto object = one_color_alone(view);
  if (!object) return std::nullopt;
  return class_question(view, color_object(view, *object), {*object});
}

[[nodiscard]] inline std::optional<Question> by_color_and_kind(const View& view) {
  // Where there are objects that only both tell apart, they are asked for.
  auto objects = view.where([&](std::size_t i) { return !view.only_of_its_kind(i); });
  if (objects.empty() || view.random.chance(0.5)) objects = view.where([](std::size_t) { return true; });
  const std::size_t object = view.random.pick(objects);
  return class_question(view, color_and_kind(view, object), {object});
}

/// Distances that count as one thing being clearly left of, or above, another, and as clearly not, in shares of the
/// side.
inline constexpr double clearly_apart = 0.12;
inline constexpr double not_apart = 0.05;
/// Ratio of areas at which one object is clearly larger.
inline constexpr double clearly_larger = 1.3;

/// Index of the greatest of `values` if it exceeds all others by `enough(greatest, other)`.
template <class Enough>
[[nodiscard]] std::optional<std::size_t> clear_maximum(const std::vector<double>& values, Enough enough) {
  const auto best = static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
  for (std::size_t i = 0; i < values.size(); ++i)
    if (i != best && !enough(values[best], values[i])) return std::nullopt;
  return best;
}

/// How far an object lies in a direction: left, right, up, down.
[[nodiscard]] inline double position(const PlacedObject& object, std::size_t direction) {
  return direction == 0 ? -object.x : direction == 1 ? object.x : direction == 2 ? -object.y : object.y;
}

[[nodiscard]] inline std::optional<Question> by_extreme(const View& view) {
  if (view.objects().size() < 2) return std::nullopt;
  const double apart = clearly_apart * view.scene.image.width;
  std::vector<std::pair<std::size_t, std::size_t>> found;  // direction, object
  for (std::size_t direction = 0; direction < extremes.size(); ++direction) {
    std::vector<double> positions;
    for (const PlacedObject& object : view.objects()) positions.push_back(position(object, direction));
    if (const auto object = clear_maximum(positions, [&](double best, double other) { return best - other >= apart; }))
      found.emplace_back(direction, *object);
  }
  if (found.empty()) return std::nullopt;
  const auto [direction, object] = view.random.pick(found);
  return class_question(view, extremes[direction], {object});
}

[[nodiscard]] inline std::optional<Question> by_size(const View& view) {
  if (view.objects().size() < 2) return std::nullopt;
  const std::size_t which = view.random.below(sizes.size());
  std::vector<double> values;
  for (const PlacedObject& object : view.objects())
    values.push_back(which == 0 ? object.visible : 1.0 / object.visible);
  const auto object = clear_maximum(values, [](double best, double other) { return best >= clearly_larger * other; });
  if (!object) return std::nullopt;
  return class_question(view, sizes[which], {*object});
}

/// The only object that lies in this direction from `reference`.
[[nodiscard]] inline std::optional<std::size_t> only_one_beside(const View& view, std::size_t reference,
                                                                std::size_t direction) {
  const double side = view.scene.image.width;
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < view.objects().size(); ++i) {
    const double distance = position(view.objects()[i], direction) - position(view.objects()[reference], direction);
    if (i == reference || distance <= not_apart * side) continue;
    if (found || distance < clearly_apart * side) return std::nullopt;
    found = i;
  }
  return found;
}

/// An object and the only one that lies in some direction from it.
struct Neighbors {
  std::size_t reference = 0;
  std::size_t direction = 0;
  std::size_t object = 0;
};

/// One of all such pairs with a reference for which `nameable` holds.
template <class Nameable>
[[nodiscard]] std::optional<Neighbors> some_neighbors(const View& view, Nameable nameable) {
  std::vector<Neighbors> found;
  for (std::size_t reference = 0; reference < view.objects().size(); ++reference)
    for (std::size_t direction = 0; nameable(reference) && direction < directions.size(); ++direction)
      if (const auto object = only_one_beside(view, reference, direction))
        found.push_back({reference, direction, *object});
  if (found.empty()) return std::nullopt;
  return view.random.pick(found);
}

[[nodiscard]] inline std::optional<Question> by_neighbor(const View& view) {
  const auto pair = some_neighbors(view, [&](std::size_t i) { return view.only_of_its_kind(i); });
  if (!pair) return std::nullopt;
  const std::string name =
      "object " + std::string(directions[pair->direction]) + " the " + std::string(view.kind(pair->reference).name);
  return class_question(view, name, {pair->object});
}

/// The only other object of the same color.
[[nodiscard]] inline std::optional<std::size_t> only_one_alike(const View& view, std::size_t reference) {
  const auto alike = view.where(
      [&](std::size_t i) { return i != reference && view.objects()[i].color == view.objects()[reference].color; });
  if (alike.size() != 1) return std::nullopt;
  return alike[0];
}

/// An object that its kind names and whose color only one other has.
[[nodiscard]] inline std::optional<std::size_t> some_with_one_alike(const View& view) {
  return one_of(
      view.where([&](std::size_t i) { return view.only_of_its_kind(i) && only_one_alike(view, i).has_value(); }),
      view.random);
}

[[nodiscard]] inline std::optional<Question> by_same_color(const View& view) {
  const auto reference = some_with_one_alike(view);
  if (!reference) return std::nullopt;
  return class_question(view, "object with the same color as the " + std::string(view.kind(*reference).name),
                        {*only_one_alike(view, *reference)});
}

/// A sentence that only one object answers, without the request for a mask, and why it does.
struct FactQuestion {
  std::size_t object = 0;
  std::string sentence;
  std::string reason;
};

[[nodiscard]] inline std::string reason_of(std::size_t explanation, const Kind& kind, std::string_view fact) {
  return capitalized(filled(filled(explanations[explanation], "{x}", with_article(kind.name)), "{y}", fact));
}

[[nodiscard]] inline std::optional<FactQuestion> fact_of_use(const View& view) {
  const auto object = one_kind_alone(view);
  if (!object) return std::nullopt;
  const Facts& facts = view.kind(*object).facts;
  const std::string_view use = view.style.held_out_wording ? facts.held_out_use : view.random.pick(facts.uses);
  return FactQuestion{*object, view.ask(ask_use, use), reason_of(0, view.kind(*object), use)};
}

[[nodiscard]] inline std::optional<FactQuestion> fact_shared_by_kinds(const View& view, std::string_view Facts::* fact,
                                                                      const Wording& wording, std::size_t explanation,
                                                                      bool article) {
  const auto object = one_of(view.where([&](std::size_t i) {
    return view.where([&](std::size_t j) { return view.kind(j).facts.*fact == view.kind(i).facts.*fact; }).size() == 1;
  }),
                             view.random);
  if (!object) return std::nullopt;
  const std::string_view value = view.kind(*object).facts.*fact;
  const std::string shown = article ? with_article(value) : std::string(value);
  return FactQuestion{*object, view.ask(wording, shown), reason_of(explanation, view.kind(*object), shown)};
}
[[nodiscard]] inline std::optional<FactQuestion> fact_of_material(const View& view) {
  return fact_shared_by_kinds(view, &Facts::material, ask_material, 1, false);
}
[[nodiscard]] inline std::optional<FactQuestion> fact_of_place(const View& view) {
  return fact_shared_by_kinds(view, &Facts::place, ask_place, 2, true);
}
[[nodiscard]] inline std::optional<FactQuestion> fact_of_user(const View& view) {
  return fact_shared_by_kinds(view, &Facts::user, ask_user, 3, true);
}

using FactMaker = std::optional<FactQuestion> (*)(const View&);

/// A question that asks for the object, LISA's long form.
template <FactMaker make>
[[nodiscard]] std::optional<Question> by_fact(const View& view) {
  const auto fact = make(view);
  if (!fact) return std::nullopt;
  const std::string reply =
      view.style.naming_answers ? filled(naming_answer, "{x}", view.kind(fact->object).name) : std::string(one_mask);
  return Question{{{with_request(view, fact->sentence), reply}}, {{fact->object}}};
}

/// The same with a reason.
template <FactMaker make>
[[nodiscard]] std::optional<Question> by_fact_with_reason(const View& view) {
  const auto fact = make(view);
  if (!fact) return std::nullopt;
  return Question{{{fact->sentence + " " + std::string(view.random.pick(explanatory_requests)),
                    std::string(one_mask) + " " + fact->reason}},
                  {{fact->object}}};
}

/// The answer in words: facts applied to what is seen, but nothing segmented.
template <FactMaker make>
[[nodiscard]] std::optional<Question> fact_in_words(const View& view) {
  const auto fact = make(view);
  if (!fact) return std::nullopt;
  return Question{{{fact->sentence, filled(tell_kind.answer, "{y}", with_article(view.kind(fact->object).name))}}, {}};
}

[[nodiscard]] inline std::optional<Question> use_of_kind(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_use, with_article(kind.name), kind.facts.uses[0]);
}
[[nodiscard]] inline std::optional<Question> kind_of_use(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_kind_of_use,
                       view.style.held_out_wording ? kind.facts.held_out_use : view.random.pick(kind.facts.uses),
                       with_article(kind.name));
}
[[nodiscard]] inline std::optional<Question> material_of_kind(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_material, with_article(kind.name), kind.facts.material);
}
[[nodiscard]] inline std::optional<Question> place_of_kind(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_place, with_article(kind.name), with_article(kind.facts.place));
}
[[nodiscard]] inline std::optional<Question> user_of_kind(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_user, with_article(kind.name), with_article(kind.facts.user));
}

[[nodiscard]] inline std::optional<Question> color_of_kind(const View& view) {
  const auto object = one_kind_alone(view);
  if (!object) return std::nullopt;
  return text_question(view, tell_color, "the " + std::string(view.kind(*object).name), view.color(*object).name);
}
[[nodiscard]] inline std::optional<Question> kind_of_color(const View& view) {
  const auto object = one_color_alone(view);
  if (!object) return std::nullopt;
  return text_question(view, tell_kind, color_object(view, *object), with_article(view.kind(*object).name));
}
[[nodiscard]] inline std::optional<Question> number_of_objects(const View& view) {
  if (view.objects().size() < 2) return std::nullopt;
  return text_question(view, tell_count, "", counts[view.objects().size()]);
}
[[nodiscard]] inline std::optional<Question> presence_of_kind(const View& view) {
  const bool present = view.random.chance(0.5);
  std::size_t kind = view.random.pick(view.objects()).kind;
  const auto seen = [&] {
    return std::any_of(view.objects().begin(), view.objects().end(),
                       [&](const PlacedObject& object) { return object.kind == kind; });
  };
  while (!present && seen()) kind = view.random.below(kinds.size());
  const std::string name(kinds[kind].name);
  return text_question(view, tell_presence, with_article(name),
                       present ? "Yes, there is " + with_article(name) + "." : "No, there is no " + name + ".");
}

/// First a mask, asked for by kind or by color; the second exchange must not be answered by the first question.
[[nodiscard]] inline Question mask_by_kind(const View& view, std::size_t object) {
  return class_question(view, view.kind(object).name, {object});
}
[[nodiscard]] inline Question mask_by_color(const View& view, std::size_t object) {
  return class_question(view, color_object(view, object), {object});
}
/// Then a mask of another object.
[[nodiscard]] inline Question with_second_mask(Question first, const View& view, const Wording& wording,
                                               std::string_view x, std::size_t object) {
  first.exchanges.push_back({with_request(view, view.ask(wording, x)), answer(wording, x)});
  first.targets.push_back({object});
  return first;
}
/// Then words.
[[nodiscard]] inline Question with_words(Question first, const View& view, const Wording& wording, std::string_view y) {
  first.exchanges.push_back({view.ask(wording, "it"), answer(wording, "it", y)});
  return first;
}

[[nodiscard]] inline std::optional<Question> then_neighbor(const View& view) {
  const bool by_its_color = view.random.chance(0.5);
  const auto pair = some_neighbors(
      view, [&](std::size_t i) { return by_its_color ? view.only_of_its_color(i) : view.only_of_its_kind(i); });
  if (!pair) return std::nullopt;
  const std::size_t first = pair->reference;
  return with_second_mask(by_its_color ? mask_by_color(view, first) : mask_by_kind(view, first), view, then_beside,
                          directions[pair->direction], pair->object);
}
[[nodiscard]] inline std::optional<Question> then_alike(const View& view) {
  const auto first = some_with_one_alike(view);
  if (!first) return std::nullopt;
  return with_second_mask(mask_by_kind(view, *first), view, then_same_color, "", *only_one_alike(view, *first));
}
[[nodiscard]] inline std::optional<Question> then_what_color(const View& view) {
  const auto first = one_kind_alone(view);
  if (!first) return std::nullopt;
  return with_words(mask_by_kind(view, *first), view, tell_color, view.color(*first).name);
}
[[nodiscard]] inline std::optional<Question> then_what_fact(const View& view) {
  const auto first = one_color_alone(view);
  if (!first) return std::nullopt;
  const Facts& facts = view.kind(*first).facts;
  return view.random.chance(0.5) ? with_words(mask_by_color(view, *first), view, tell_use, facts.uses[0])
                                 : with_words(mask_by_color(view, *first), view, tell_material, facts.material);
}
[[nodiscard]] inline std::optional<Question> kind_then_mask(const View& view) {
  const auto object = one_color_alone(view);
  if (!object) return std::nullopt;
  Question result = text_question(view, tell_kind, color_object(view, *object), with_article(view.kind(*object).name));
  result.exchanges.push_back({view.ask(then_segment, ""), answer(then_segment, "")});
  result.targets.push_back({*object});
  return result;
}

[[nodiscard]] inline std::optional<Question> all_of_a_color(const View& view) {
  const auto object = one_of(view.where([&](std::size_t i) { return !view.only_of_its_color(i); }), view.random);
  if (!object) return std::nullopt;
  return Question{
      {{view.ask(ask_all, std::string(view.color(*object).name) + " objects"), answer(ask_all, "")}},
      {view.where([&](std::size_t i) { return view.objects()[i].color == view.objects()[*object].color; })}};
}
[[nodiscard]] inline std::optional<Question> all_of_a_kind(const View& view) {
  const auto object = one_of(view.where([&](std::size_t i) { return !view.only_of_its_kind(i); }), view.random);
  if (!object) return std::nullopt;
  return Question{{{view.ask(ask_all, view.kind(*object).plural), answer(ask_all, "")}},
                  {view.where([&](std::size_t i) { return view.objects()[i].kind == view.objects()[*object].kind; })}};
}
[[nodiscard]] inline std::optional<Question> each_of_some(const View& view) {
  if (view.objects().size() < 2) return std::nullopt;
  auto objects = view.where([](std::size_t) { return true; });
  view.random.shuffle(objects);
  objects.resize(objects.size() > 2 && view.random.chance(0.3) ? 3 : 2);
  std::string names, masks;
  Question result;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const bool last = i + 1 == objects.size();
    names += (i == 0 ? ""
              : last ? " and the "
                     : ", the ") +
             (view.only_of_its_kind(objects[i]) ? std::string(view.kind(objects[i]).name)
                                                : color_and_kind(view, objects[i]));
    masks += std::string(i == 0 ? "" : last ? " and " : ", ") + "[SEG]";
    result.targets.push_back({objects[i]});
  }
  result.exchanges.push_back({view.ask(ask_each, names), answer(ask_each, "", masks)});
  return result;
}

[[nodiscard]] inline std::optional<Question> absent_kind(const View& view) {
  const std::size_t kind = view.random.below(kinds.size());
  for (const PlacedObject& object : view.objects())
    if (object.kind == kind) return std::nullopt;
  const std::string_view name = kinds[kind].name;
  return Question{{{view.ask(ask_absent, name), answer(ask_absent, name)}}, {}};
}
/// A kind that is there, in a color that it does not have there.
[[nodiscard]] inline std::optional<Question> absent_color_of_kind(const View& view) {
  const std::size_t kind = view.random.pick(view.objects()).kind;
  const std::size_t color = view.random.below(colors.size());
  if (held_out_combination(kind, color)) return std::nullopt;
  for (const PlacedObject& object : view.objects())
    if (object.kind == kind && object.color == color) return std::nullopt;
  const std::string name = std::string(colors[color].name) + " " + std::string(kinds[kind].name);
  return Question{{{view.ask(ask_absent, name), answer(ask_absent, name)}}, {}};
}

/// Ways to make a question of each group.
[[nodiscard]] inline std::vector<Maker> makers_of(Group group) {
  switch (group) {
    case Group::name:
      return {by_kind};
    case Group::attribute:
      return {by_color, by_color_and_kind};
    case Group::relation:
      return {by_extreme, by_size, by_neighbor, by_same_color};
    case Group::reasoning:
      return {by_fact<fact_of_use>};
    case Group::knowledge:
      return {by_fact<fact_of_material>, by_fact<fact_of_place>, by_fact<fact_of_user>};
    case Group::explanatory:
      return {by_fact_with_reason<fact_of_use>, by_fact_with_reason<fact_of_material>,
              by_fact_with_reason<fact_of_place>, by_fact_with_reason<fact_of_user>};
    case Group::multi_turn:
      return {then_neighbor, then_alike, then_what_color, then_what_fact, kind_then_mask};
    case Group::several:
      return {all_of_a_color, all_of_a_kind, each_of_some};
    case Group::absent:
      return {absent_kind, absent_color_of_kind};
    case Group::facts:
      return {use_of_kind,
              kind_of_use,
              kind_of_use,
              material_of_kind,
              place_of_kind,
              user_of_kind,
              fact_in_words<fact_of_material>,
              fact_in_words<fact_of_place>,
              fact_in_words<fact_of_user>};
    case Group::sight:
      return {color_of_kind, kind_of_color, number_of_objects, presence_of_kind};
  }
  return {};
}

}  // namespace question_detail

/// A question of this group about the scene, its wording drawn; nothing when the scene does not allow one. What it asks
/// for is unambiguous: every target is clearly what the words say, and every other object clearly not.
[[nodiscard]] inline std::optional<Question> make_question(const Scene& scene, Group group, const QuestionStyle& style,
                                                           Random& random) {
  std::vector<question_detail::Maker> makers = question_detail::makers_of(group);
  random.shuffle(makers);
  for (const question_detail::Maker make : makers)
    if (std::optional<Question> made = make({scene, style, random})) return made;
  return std::nullopt;
}

/// The question with its masks.
[[nodiscard]] inline Dialogue dialogue_of(const Scene& scene, Group group, Question question) {
  Dialogue dialogue{std::move(question.exchanges), {}, std::string(name_of(group))};
  for (const std::vector<std::size_t>& objects : question.targets) dialogue.masks.push_back(mask_of(scene, objects));
  return dialogue;
}

}  // namespace lisa::tabletop
