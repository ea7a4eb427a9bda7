//! Charts: bars of an SVG that is made here, with the same numbers as a table under it.

use askama::Template;

use crate::frame::Frame;

/// The size of a chart, in units of its own.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
/// The most of it that a bar takes.
const WIDEST: f64 = 50.0;

/// What the parts of a chart's bars are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// What it is called.
    pub name: &'static str,
    /// The class that colors it.
    pub class: &'static str,
}

/// A bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// The day, rule or source.
    pub label: String,
    /// A value for each series, and how it is written.
    pub values: Vec<(f64, String)>,
}

/// A chart of bars whose parts stand on each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What tells it from others on the page.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it says, in a sentence.
    pub says: String,
    /// What its labels are.
    pub of: &'static str,
    /// Its series, the lowest first.
    pub series: Vec<Series>,
    /// Its bars.
    pub bars: Vec<Bar>,
    /// What is said when there is none.
    pub empty: &'static str,
}

/// A part of a bar.
struct Part {
    class: &'static str,
    x: String,
    y: String,
    width: String,
    height: String,
    says: String,
}

impl Chart {
    fn parts(&self) -> Vec<Part> {
        let total = |bar: &Bar| bar.values.iter().map(|(value, _)| value).sum::<f64>();
        let highest = self.bars.iter().map(total).fold(0.0, f64::max);
        if highest <= 0.0 {
            return Vec::new();
        }

        let step = (WIDTH / self.bars.len().max(1) as f64).min(WIDEST);
        let mut parts = Vec::new();
        for (place, bar) in self.bars.iter().enumerate() {
            let mut top = HEIGHT;
            for (series, (value, written)) in self.series.iter().zip(&bar.values) {
                let height = value / highest * (HEIGHT - 4.0);
                top -= height;
                if height > 0.0 {
                    parts.push(Part {
                        class: series.class,
                        x: format!("{:.1}", step.mul_add(place as f64, step * 0.1)),
                        y: format!("{top:.1}"),
                        width: format!("{:.1}", step * 0.8),
                        height: format!("{height:.1}"),
                        says: format!("{}, {}: {written}", bar.label, series.name),
                    });
                }
            }
        }
        parts
    }
}

/// Numbers over days.
#[derive(Debug, Template)]
#[template(path = "trends.html")]
pub struct TrendsPage {
    /// What is around it.
    pub frame: Frame,
    /// The charts.
    pub charts: Vec<Chart>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_on_each_other_within_the_chart() {
        let bar = |label: &str, values: [f64; 2]| Bar {
            label: label.to_owned(),
            values: values.map(|value| (value, value.to_string())).to_vec(),
        };
        let chart = Chart {
            id: "a",
            title: "",
            says: String::new(),
            of: "Day",
            series: ["low", "high"]
                .map(|class| Series { name: class, class })
                .to_vec(),
            bars: vec![bar("<b>", [1.0, 1.0]), bar("x", [4.0, 0.0])],
            empty: "",
        };
        let parts = chart.parts();
        let places: Vec<(&str, &str)> = parts.iter().map(|p| (&*p.y, &*p.height)).collect();
        assert_eq!(
            places,
            [("91.0", "29.0"), ("62.0", "29.0"), ("4.0", "116.0")]
        );
        let nothing = Chart {
            bars: vec![bar("x", [0.0, 0.0])],
            ..chart
        };
        assert!(nothing.parts().is_empty());
    }
}
