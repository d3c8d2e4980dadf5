#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/data/tabletop/kinds.hpp"
#include "lisa/data/tabletop/scene.hpp"
#include "lisa/data/tabletop/wording.hpp"

namespace lisa::tabletop {

/// How questions are put.
struct QuestionStyle {
  bool held_out_wording = false;  ///< paraphrases that never occur in training
  /// Answers with one mask name what it shows, "It is the mug, [SEG].", which is not the original's wording: the state
  /// before the mask then knows what it is about, also where the model had to find that out.
  bool naming_answers = false;
};

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

/// What an expression means in a scene.
struct Phrase {
  std::string name;                  ///< "red mug", "object left of the mug"; no article in front
  std::vector<std::size_t> objects;  ///< none when nothing there answers to it
};

/// A phrase that is unambiguous in the scene, or nothing when the scene does not allow one: its objects are clearly
/// what it says, all others clearly not.
using PhraseMaker = std::optional<Phrase> (*)(const View&);

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

[[nodiscard]] inline std::optional<Phrase> by_kind(const View& view) {
  const auto object = one_kind_alone(view);
  if (!object) return std::nullopt;
  return Phrase{std::string(view.kind(*object).name), {*object}};
}

[[nodiscard]] inline std::optional<Phrase> by_color(const View& view) {
  const auto object = one_color_alone(view);
  if (!object) return std::nullopt;
  return Phrase{color_object(view, *object), {*object}};
}

[[nodiscard]] inline std::optional<Phrase> by_color_and_kind(const View& view) {
  // Where there are objects that only both tell apart, they are asked for.
  auto objects = view.where([&](std::size_t i) { return !view.only_of_its_kind(i); });
  if (objects.empty() || view.random.chance(0.5)) objects = view.where([](std::size_t) { return true; });
  const std::size_t object = view.random.pick(objects);
  return Phrase{color_and_kind(view, object), {object}};
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

[[nodiscard]] inline std::optional<Phrase> by_extreme(const View& view) {
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
  return Phrase{std::string(extremes[direction]), {object}};
}

[[nodiscard]] inline std::optional<Phrase> by_size(const View& view) {
  if (view.objects().size() < 2) return std::nullopt;
  const std::size_t which = view.random.below(sizes.size());
  std::vector<double> values;
  for (const PlacedObject& object : view.objects())
    values.push_back(which == 0 ? object.visible : 1.0 / object.visible);
  const auto object = clear_maximum(values, [](double best, double other) { return best >= clearly_larger * other; });
  if (!object) return std::nullopt;
  return Phrase{std::string(sizes[which]), {*object}};
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

[[nodiscard]] inline std::optional<Phrase> by_neighbor(const View& view) {
  const auto pair = some_neighbors(view, [&](std::size_t i) { return view.only_of_its_kind(i); });
  if (!pair) return std::nullopt;
  const std::string name =
      "object " + std::string(directions[pair->direction]) + " the " + std::string(view.kind(pair->reference).name);
  return Phrase{name, {pair->object}};
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

[[nodiscard]] inline std::optional<Phrase> by_same_color(const View& view) {
  const auto reference = some_with_one_alike(view);
  if (!reference) return std::nullopt;
  return Phrase{"object with the same color as the " + std::string(view.kind(*reference).name),
                {*only_one_alike(view, *reference)}};
}

[[nodiscard]] inline std::optional<Phrase> all_of_a_color(const View& view) {
  const auto object = one_of(view.where([&](std::size_t i) { return !view.only_of_its_color(i); }), view.random);
  if (!object) return std::nullopt;
  return Phrase{std::string(view.color(*object).name) + " objects",
                view.where([&](std::size_t i) { return view.objects()[i].color == view.objects()[*object].color; })};
}
[[nodiscard]] inline std::optional<Phrase> all_of_a_kind(const View& view) {
  const auto object = one_of(view.where([&](std::size_t i) { return !view.only_of_its_kind(i); }), view.random);
  if (!object) return std::nullopt;
  return Phrase{std::string(view.kind(*object).plural),
                view.where([&](std::size_t i) { return view.objects()[i].kind == view.objects()[*object].kind; })};
}
/// "mug and the red book": two or three objects in the order in which they are named.
[[nodiscard]] inline std::optional<Phrase> some_objects(const View& view) {
  if (view.objects().size() < 2) return std::nullopt;
  Phrase phrase{{}, view.where([](std::size_t) { return true; })};
  view.random.shuffle(phrase.objects);
  phrase.objects.resize(phrase.objects.size() > 2 && view.random.chance(0.3) ? 3 : 2);
  for (const std::size_t object : phrase.objects) {
    if (!phrase.name.empty()) phrase.name += object == phrase.objects.back() ? " and the " : ", the ";
    phrase.name += view.only_of_its_kind(object) ? std::string(view.kind(object).name) : color_and_kind(view, object);
  }
  return phrase;
}

[[nodiscard]] inline std::optional<Phrase> absent_kind(const View& view) {
  const std::size_t kind = view.random.below(kinds.size());
  for (const PlacedObject& object : view.objects())
    if (object.kind == kind) return std::nullopt;
  return Phrase{std::string(kinds[kind].name), {}};
}
/// A kind that is there, in a color that it does not have there.
[[nodiscard]] inline std::optional<Phrase> absent_color_of_kind(const View& view) {
  const std::size_t kind = view.random.pick(view.objects()).kind;
  const std::size_t color = view.random.below(colors.size());
  if (held_out_combination(kind, color)) return std::nullopt;
  for (const PlacedObject& object : view.objects())
    if (object.kind == kind && object.color == color) return std::nullopt;
  return Phrase{std::string(colors[color].name) + " " + std::string(kinds[kind].name), {}};
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

}  // namespace lisa::tabletop
