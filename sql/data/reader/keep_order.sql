-- Returns nothing: from here on rows keep the order they have in their files, so that a row has a number.
SET preserve_insertion_order = true;
