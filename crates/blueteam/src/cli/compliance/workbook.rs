//! The plans of action as the sheet that eMASS takes: CSV, and XLSX for those who open it in a
//! spreadsheet.

use anyhow::Context as _;
use compliance::Catalog;
use compliance::poam::{EMASS, emass};
use model::{Plan, Timestamp};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, Workbook};

use crate::cli::out;

/// A cell of a workbook holds no more characters than this.
const CELL_MAX: usize = 32_767;
/// Columns that hold sentences, by their place, are wider than the others.
const WIDE: [u16; 7] = [1, 7, 8, 9, 11, 14, 23];

/// The sheet as CSV (RFC 4180).
pub(in crate::cli) fn csv(plans: &[Plan]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(EMASS)?;

    for plan in plans {
        writer.write_record(
            emass(Catalog::r2(), plan)
                .iter()
                .map(|cell| out::no_formula(cell).into_owned()),
        )?;
    }

    writer.into_inner().map_err(|e| anyhow::anyhow!("{e}"))
}

/// The sheet as a workbook. Every cell is text, in which no formula runs; the apostrophe is there
/// all the same, for whoever saves it as CSV. The same plans at the same time give the same octets.
pub(in crate::cli) fn xlsx(plans: &[Plan], now: Timestamp) -> anyhow::Result<Vec<u8>> {
    let mut workbook = Workbook::new();
    let made = ExcelDateTime::from_timestamp(now.as_micros().div_euclid(1_000_000))
        .context("no date of a workbook")?;
    workbook.set_properties(
        &DocProperties::new()
            .set_title("Plan of Action and Milestones")
            .set_creation_datetime(&made),
    );

    let sheet = workbook.add_worksheet();
    sheet.set_name("POA&M")?;
    let text = Format::new()
        .set_num_format("@")
        .set_text_wrap()
        .set_align(FormatAlign::Top);
    let head = Format::new()
        .set_bold()
        .set_text_wrap()
        .set_align(FormatAlign::Top);

    for (column, name) in (0_u16..).zip(EMASS) {
        sheet.set_column_width(column, if WIDE.contains(&column) { 40 } else { 16 })?;
        sheet.write_string_with_format(0, column, name, &head)?;
    }

    for (row, plan) in (1_u32..).zip(plans) {
        for (column, cell) in (0_u16..).zip(&emass(Catalog::r2(), plan)) {
            let cell = out::no_formula(cell);
            let cell: String = cell
                .chars()
                .filter(|c| !c.is_control() || *c == '\n')
                .take(CELL_MAX)
                .collect();
            sheet.write_string_with_format(row, column, cell, &text)?;
        }
    }

    sheet.set_freeze_panes(1, 0)?;
    Ok(workbook.save_to_buffer()?)
}
